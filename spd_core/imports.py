"""Imports of many modules, made faster; and where a package lies that must not be imported."""

import gc
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def collected_never() -> Iterator[None]:
    """Around imports, once each: Python does not look for garbage meanwhile, nor ever again in what there is then.

    A sixth of a large import goes into that search, and every later one would walk through all modules again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def package_folder(module: str) -> Path | None:
    """Where a package of others lies, found and not imported; None where it is not installed."""
    spec = importlib.util.find_spec(module)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
