"""Which runs have trained some arms already: one answer for the cost panel, the form, the table and its items.

Arms are found one by one, whoever trained them and beside which others. Imports no torch: pages ask, too.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spd_core.data.catalog import find_capability, held_out_prompts
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.intervention.cards import adapter_folder
from spd_core.models.identity import content_of
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.distill import ARMS, ArmName, Recipe
from spd_core.recipes.writer import LOCAL_WRITER
from spd_core.runs.folder import Run, all_runs
from spd_core.runs.record import anchored
from spd_core.runs.states import state_of
from spd_core.storage import read_bytes, to_json, write_text

SOURCES = "sources.json"
"""In a run: what the names in its recipe meant when it began."""
_SHOWN_ALONE = {"completions", "log_to"}
"""Settings of a training that only let one look at it."""


# --- what names mean ---------------------------------------------------------------------------------------------


def sources_of(recipe: Recipe) -> dict[str, str]:
    """sha256 of what a recipe's names mean now: a file that was edited makes another model.

    A public data set is what its name says: it is not read for this.

    Raises:
        InputError: nothing of that name.
    """
    model = content_of(recipe.model)
    without = {"without": left_out_digest(recipe.capture)} if recipe.capture.without else {}
    if recipe.capability in PUBLIC_SETS:
        return {"calibration": "public", "prompts": "public", "heldout": "public", "model": model, **without}
    calibration = find_capability(recipe.capability).limited(recipe.capture.examples)
    prompts = find_capability(recipe.capability, split=recipe.corpus.split).limited(recipe.corpus.prompts)
    return {
        "calibration": calibration.fingerprint,
        "prompts": prompts.fingerprint,
        "heldout": hashlib.sha256(json.dumps(held_out_prompts(recipe.capability)).encode()).hexdigest(),
        "model": model,
        **without,
    }


def left_out_digest(settings: CaptureSettings) -> str:
    """sha256 of what the capabilities mean that a contrast leaves out; a public data set is what its name says.

    Raises:
        InputError: nothing of that name.
    """
    meant = [
        [name, settings.examples]
        if name in PUBLIC_SETS
        else find_capability(name).limited(settings.examples).fingerprint
        for name in settings.without
    ]
    return hashlib.sha256(json.dumps(meant).encode()).hexdigest()


def note_sources(recipe: Recipe, folder: Path) -> None:
    """Write into a run's folder what its names mean, when it begins; left alone when it goes on."""
    if not (folder / SOURCES).exists():
        write_text(folder / SOURCES, to_json(sources_of(recipe)))


def noted_sources(run: Run) -> dict[str, str]:
    """What the names in a run's recipe meant when it began; empty where it does not say."""
    try:
        found = json.loads(read_bytes(run.folder / SOURCES, missing_ok=True) or b"{}")
    except (ValueError, RecursionError):  # cut off: nobody knows
        return {}
    return found if isinstance(found, dict) else {}


def what_decides(recipe: Recipe, arm: ArmName, sources: Mapping[str, str]) -> dict[str, Any]:
    """All that decides what an arm learns: with equal ones it learns the same.

    Not in it: other arms, the title, drift, a review that rejects nothing, how much is read or written at once, what
    is shown meanwhile, and what is called by another name now. An arm that projects nothing needs no capture.

    Args:
        sources: what the recipe's names mean (see `sources_of`).
    """
    public = recipe.capability in PUBLIC_SETS
    corpus, capture = recipe.corpus, recipe.capture
    projects, contrasts = ARMS[arm].subspace != "none", ARMS[arm].subspace == "contrast"
    return {
        "model": sources.get("model") or [recipe.model, recipe.revision],
        "dtype": recipe.dtype,
        "set": recipe.capability if public else "",
        "prompts": [sources.get("prompts"), corpus.prompts if public else None, corpus.split, corpus.held_out],
        "asked": [corpus.prompt_style, corpus.samples],
        "drop": sorted(corpus.drop),
        "leakage": sources.get("heldout") if "leakage" in corpus.drop else None,
        "sampling": asdict(recipe.sampling(arm)),
        "writer": recipe.written_by(arm) if recipe.asks_writer(arm) else LOCAL_WRITER.kind,
        "subspace": [ARMS[arm].subspace, capture.rank, capture.strength] if projects else None,
        "gradients": [sources.get("calibration"), capture.examples if public else None] if projects else None,
        "captured": [capture.layers, capture.loss, capture.center] if projects else None,
        "without": sources.get("without") if contrasts else None,
        "train": recipe.train.model_dump(exclude=_SHOWN_ALONE),
        "rounds": recipe.rounds,
        **_learned_from(recipe, arm),
    }


def _learned_from(recipe: Recipe, arm: ArmName) -> dict[str, Any]:
    """What else decides for an arm that learns on what it writes in training."""
    method, chunks = ARMS[arm].method, recipe.omniopd
    if method == "sft":
        return {}
    most: dict[str, Any] = {} if recipe.rollout.max_tokens is None else {"max_tokens": recipe.rollout.max_tokens}
    if recipe.serves_student(arm):
        most |= {"rollouts": recipe.corpus.writer.kind}
    if method == "on-policy":
        return {"method": method, "divergence": recipe.rollout.divergence, **most}
    asks = arm == "omniopd-model"
    unread = {"accept_short", *(() if asks else ("teacher", "server"))}
    return {"method": method, "chunks": chunks.model_dump(exclude=unread, mode="json"), **most}


# --- runs --------------------------------------------------------------------------------------------------------


def trained_by(recipe: Recipe) -> dict[ArmName, Run]:
    """For each arm of a recipe that has been trained as this recipe would, on what its names mean now: the newest
    finished run that did.

    A run counts for an arm whatever else it was asked for (see `what_decides`), unless somebody rejected rows that the
    arm was trained on, or its adapter is gone.
    """
    runs = [run for run in all_runs() if isinstance(run, Run) and isinstance(run.record.recipe, Recipe)]
    try:
        sources = sources_of(recipe) if runs else {}
    except InputError:  # nothing of that name any more
        return {}
    found: dict[ArmName, Run] = {}
    for run in runs:
        arms = [arm for arm in recipe.arms if arm not in found and arm in run.record.distillation.arms]
        same = [arm for arm in arms if _learned(run, arm, recipe, sources)]
        if same and state_of(run) == "done":
            found |= dict.fromkeys(same, run)
    return {arm: found[arm] for arm in recipe.arms if arm in found}


def still_to_train(recipe: Recipe) -> Recipe | None:
    """The recipe of those arms that no finished run has trained yet; None where there is nothing left to do."""
    done = trained_by(recipe)
    left = tuple(arm for arm in recipe.arms if arm not in done)
    return recipe.model_copy(update={"arms": left}) if left else None


def begun_by(recipe: Recipe) -> Run | None:
    """The newest run of this very recipe that has not finished and can be gone on with."""
    wanted = anchored(recipe)
    candidates = [run for run in all_runs() if isinstance(run, Run) and run.record.recipe == wanted]
    try:
        sources = sources_of(recipe) if candidates else {}
    except InputError:  # nothing of that name any more
        return None
    for run in candidates:
        goes_on = state_of(run) in ("stopped", "failed", "lost")
        if goes_on and _same_sources(run, sources) and not any(run.rejected().values()):
            return run
    return None


def _same_sources(run: Run, sources: Mapping[str, str]) -> bool:
    noted = noted_sources(run)
    return bool(noted) and noted == {name: sources.get(name) for name in noted}


def _learned(run: Run, arm: ArmName, wanted: Recipe, sources: Mapping[str, str]) -> bool:
    """Whether a run's arm has learned what a recipe asks for; as far as it noted what its names meant."""
    noted, own = noted_sources(run), run.record.distillation
    known = {name: value for name, value in sources.items() if name in noted}  # earlier versions noted less
    if not noted or what_decides(own, arm, noted) != what_decides(wanted, arm, known):
        return False
    with suppress(InputError):  # no adapter, or rejections that cannot be read
        adapter_folder(f"{run.id}/{arm}")
        return not any(run.rejected().get(name) for name in (own.corpus_name(arm), arm))
    return False
