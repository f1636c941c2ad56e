"""What an adapter of an earlier version has seen, from the run that trained it: such adapters did not note it.

Imports no torch.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from spd_core.data.catalog import find_capability
from spd_core.data.seen import Seen, all_seen, seen_by_model
from spd_core.distill.corpus import corpus_path, read_corpus
from spd_core.distill.review import held_apart
from spd_core.errors import InputError
from spd_core.models.identity import EXPORTED
from spd_core.recipes.distill import ARMS, ArmName
from spd_core.runs.folder import Run, open_run
from spd_core.subspace.store import is_capture, load_capture


def recalled(run: str, arm: ArmName | None) -> Seen | None:
    """What a run's adapter has seen: the examples of its captures, and the prompts that its corpora were written on.

    Rows that were left out of training count, too: nobody noted them. None where the run, its files or its capability
    are gone, or the capability says something else by now.
    """
    try:
        return _recalled(open_run(run), arm) if arm is not None else None
    except InputError:
        return None


def _recalled(run: Run, arm: ArmName) -> Seen | None:
    recipe = run.record.distillation
    found = find_capability(recipe.capability, split=recipe.corpus.split).limited(recipe.corpus.prompts)
    prompts = {example.id: example.prompt for example in found.examples}
    apart = held_apart(prompts, recipe.corpus.held_out)
    trained: set[str] = set()
    for round_ in range(1, recipe.rounds + 1):
        name = recipe.corpus_name(arm) if round_ == 1 else arm
        for row in read_corpus(corpus_path(run.folder, name, round_)):
            if prompts.get(row.id, row.prompt + "?") not in row.prompt:  # it was edited since
                return None
            trained |= {prompts[row.id]} if row.id not in apart else set()
    chosen = [prompts[one] for one in apart] if recipe.train.patience else []
    written = Seen.of(chosen, trained)
    if ARMS[arm].subspace in ("none", "random"):
        return written
    kind = ARMS[arm].subspace.partition(" ")[0]
    capture = run.folder / "captures" / f"{kind}-round-1"  # later rounds capture the same examples
    return all_seen((written, load_capture(capture).seen if is_capture(capture) else None))


def seen_by_checkpoint(name: str) -> Seen | None:
    """What a checkpoint has seen: as noted beside it, else by the run of the adapter that was merged into it.

    None of a checkpoint that was not written here.
    """
    noted = seen_by_model(name)
    if noted is not None:
        return noted
    card: Any = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((Path(name).expanduser() / EXPORTED).read_text("utf-8"))
        card = record["merged"]["card"] if "folded" not in record else None
    if not isinstance(card, dict) or card.get("arm") not in ARMS:
        return None
    return recalled(str(card.get("run", "")), card["arm"])
