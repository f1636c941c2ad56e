"""What commands show in a shell: results on stdout, progress on stderr. Knows nothing of what they do."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from spd_core.progress import Progress, Tell

INTERRUPTED = 130
"""Exit code of a command that was interrupted."""
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """Print a result on stdout: a line for each part, or all of it as JSON."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, sort_keys=True))
        return
    for name, value in result.items():
        shown = value
        if isinstance(value, list):
            shown = ", ".join(map(str, value))
        elif isinstance(value, dict):
            shown = "; ".join(f"{key}: {inner}" for key, inner in value.items()) or "none"
        print(f"{name.replace('_', ' ')}: {shown}")


@contextmanager
def bars() -> Iterator[Tell]:
    """Yield a `Tell` that draws one bar on stderr for each thing that is done."""
    from tqdm import tqdm

    bar: tqdm[Any] | None = None

    def show(at: Progress) -> None:
        nonlocal bar
        if bar is None or bar.desc != at.what:
            if bar is not None:
                bar.close()
            form = "{desc} {bar} {n:3.0f}% [{elapsed}<{remaining}]"
            bar = tqdm(desc=at.what, total=100, file=sys.stderr, bar_format=form)
        bar.update(100 * at.share - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()
