"""Sets of a few items in a file, for tests of how they are read and answered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spd_core.evaluation.items import Items, read_set
from spd_core.recipes.sets import EvalSet


def written(path: Path, rows: Sequence[dict[str, Any]], **settings: Any) -> Path:
    """A capability file whose answers are numbers."""
    head = {"capability": path.stem, "template": "Q: {prompt}\nA:", "scorer": "number", **settings}
    path.write_text("".join(json.dumps(row) + "\n" for row in (head, *rows)))
    return path


def items_of(path: Path, **changes: Any) -> Items:
    """Its held-out items, ready to be asked for six tokens each."""
    return read_set(EvalSet(capability=str(path), max_new_tokens=6, **changes))
