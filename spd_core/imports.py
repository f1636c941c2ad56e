"""Imports of many modules, made faster."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
