"""Carries out a recipe: the stages of all arms, in their order, round by round. Knows nothing of jobs or pages."""

import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from spd_core.distill.batches import check_shares
from spd_core.distill.checkpoints import ADAPTER
from spd_core.distill.looks import Marks
from spd_core.distill.rounds import RoundWork
from spd_core.distill.trained import note_sources
from spd_core.errors import Stopped
from spd_core.intervention.adapters import joined, load_adapter, merged, save_adapter
from spd_core.intervention.cards import RECIPE, is_finished
from spd_core.models.loading import LanguageModel, load, quiet
from spd_core.recipes.distill import ARMS, ArmName, Recipe
from spd_core.runs.events import AnyEvent
from spd_core.runs.job import Outcome
from spd_core.runs.parallel import together
from spd_core.storage import clear_temporary, new_folder


def carry_out(
    recipe: Recipe,
    folder: Path,
    *,
    run: str = "",
    tell: Callable[[AnyEvent], None] | None = None,
    stop: Callable[[], bool] | None = None,
    rejected: Mapping[str, Collection[int]] | None = None,
    reviewed: bool = False,
    marks: Marks | None = None,
) -> Outcome:
    """Do everything that a recipe asks for and `folder` does not hold yet.

    All corpora of the first round are written before the first arm is trained. Under `accelerate launch` all processes
    call it and do their share; the first one tells and saves. What an arm has learned lies in `folder/adapters/<arm>`,
    relative to the untouched model.

    Args:
        run: name of the run, for the adapters' cards.
        tell: told every event, as it happens.
        stop: asked between tokens and steps; true ends it there. Called again on the same folder, it goes on.
        rejected: numbers of rows that nobody shall train on, by corpus.
        reviewed: somebody has looked at the corpora; only asked for when the recipe says `review`.
        marks: tells which greedy answers on the held-out prompts are right, before the first step and after each epoch
            of an arm; changes nothing that is trained.

    Returns:
        `review` when it waits for somebody to look at the corpora.

    Raises:
        SpdError: of any stage; all that was finished before is kept.
    """
    peers = together()  # before the model is loaded: it gives each process its GPU
    listener = tell if peers.first else None
    work = RoundWork(recipe, folder, run, rejected=rejected, marks=marks, listener=listener, stop=stop)
    try:
        work.begin("load")
        if not all(map(recipe.writes, recipe.arms)):
            check_shares(work.learned, recipe.train.batch_size)
        if peers.first:
            note_sources(recipe, folder)
            for part in ("arms", "adapters", "captures", "corpora", "engines"):
                clear_temporary(folder / part)
        lm = _loaded(recipe)
        for arm in filter(recipe.writes, recipe.arms):
            if not is_finished(_place(folder, arm, recipe.rounds)):
                work.corpus(lm, arm, 1)
        if recipe.review and not reviewed:
            return "review"
        for arm in recipe.arms:
            _rounds(work, lm, arm)
    except Stopped:
        return "stopped"
    return "done"


def _loaded(recipe: Recipe) -> LanguageModel:
    quiet()
    return load(
        recipe.model,
        recipe.revision,
        recipe.dtype,
        purpose="generation",
        rows=recipe.corpus.batch_size,
        new_tokens=recipe.corpus.max_new_tokens,
    )


def _place(folder: Path, arm: ArmName, round_: int) -> Path:
    return folder / "arms" / arm / f"round-{round_}" / ADAPTER


def _rounds(work: RoundWork, lm: LanguageModel, arm: ArmName) -> None:
    """Every round of an arm: train, merge, and look how far the subspace has turned."""
    recipe, folder = work.recipe, work.folder
    asked = recipe.drift or ARMS[arm].subspace in ("capability", "random")
    base = before = work.subspace(lm, "capability", arm, 1, "capture") if asked else None
    current = lm
    with ExitStack() as stack:
        for round_ in range(1, recipe.rounds + 1):
            adapter = work.trained(current, arm, round_)
            _publish(folder, arm, round_, lm)
            if not adapter.card.finished:
                raise Stopped("stopped on request")
            if recipe.drift or round_ < recipe.rounds:
                current = stack.enter_context(merged(current, adapter))
            if recipe.drift and base is not None and before is not None:
                before = work.drift(current, arm, round_, base, before)


def _publish(folder: Path, arm: ArmName, rounds: int, lm: LanguageModel) -> None:
    """Put what an arm has learned so far, relative to the untouched model, where lanes and exports look for it."""
    if not together().first:
        return
    parts, place = [_place(folder, arm, round_) for round_ in range(1, rounds + 1)], folder / "adapters" / arm
    if rounds > 1:
        beside = {RECIPE: (parts[-1] / RECIPE).read_text("utf-8")} if (parts[-1] / RECIPE).is_file() else {}
        whole = joined([load_adapter(part) for part in parts])
        save_adapter(whole, place, lm.model.config, overwrite=True, beside=beside)
        return
    with new_folder(place, overwrite=True) as temporary:
        shutil.copytree(parts[0], temporary, dirs_exist_ok=True)
