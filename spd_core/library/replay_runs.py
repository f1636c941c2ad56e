"""Looks over a fine-tuning run's files again: what a corpus held, what was trained on, what was captured. No model."""

from collections.abc import Iterator
from pathlib import Path

from spd_core.distill.corpus import CorpusRow, corpus_path, read_corpus
from spd_core.distill.review import divided_by, prompts_of
from spd_core.errors import InputError, SpdError
from spd_core.evaluation.marks import marks_where_allowed
from spd_core.intervention.cards import AdapterCard, read_card
from spd_core.library.replay_report import ReplayRow, exact_row, not_replayed
from spd_core.recipes.distill import Recipe
from spd_core.runs.events import AnswersScored, ArmDone, HygieneFound
from spd_core.runs.folder import Run

_DIGEST = "sha256 of the rows, as the adapter's card has it"


def replay_run(thing: str, run: Run) -> list[ReplayRow]:
    """What hygiene left of each corpus of the first round, what was told of each arm, and how many rows are right."""
    recipe = run.record.distillation
    rows: list[ReplayRow] = []
    for name in dict.fromkeys(recipe.corpus_name(arm) for arm in recipe.arms):
        path = corpus_path(run.folder, name, 1)
        if not path.exists():
            rows.append(not_replayed(thing, f"corpus {name}", "the run's folder holds no such corpus"))
            continue
        try:
            rows += _of_corpus(thing, run, recipe, name, read_corpus(path))
        except SpdError as error:
            rows.append(not_replayed(thing, f"corpus {name}", str(error)))
    return [*rows, *_of_events(thing, run, recipe)]


def _of_corpus(thing: str, run: Run, recipe: Recipe, name: str, rows: list[CorpusRow]) -> Iterator[ReplayRow]:
    told = [one for one in run.events().events if isinstance(one, HygieneFound) and one.round == 1]
    arms = [arm for arm in recipe.arms if recipe.corpus_name(arm) == name]
    own = next((one for one in reversed(told) if one.arm in arms), None)
    found = divided_by(recipe, rows, run.rejected().get(name, ()))
    if own is None:
        yield not_replayed(thing, f"corpus {name}: rows kept", "the run's events do not say what was kept")
    else:
        yield exact_row(thing, f"corpus {name}: rows kept", own.kept, len(found.hygiene.kept))
    right = marks_where_allowed(rows, prompts_of(recipe))
    said = f"{sum(right.values())} of {len(right)}" if right else ""
    why = "no run keeps this number: it is counted from the corpus whenever it is shown"
    yield ReplayRow(thing, f"corpus {name}: right answers", "", said, "", "", "not determined", why)


def _of_events(thing: str, run: Run, recipe: Recipe) -> Iterator[ReplayRow]:
    """The rows and steps that an arm was told to have, beside its card; scores in between need the model of then."""
    events = run.events().events
    for arm in recipe.arms:
        done = [one for one in events if isinstance(one, ArmDone) and one.arm == arm]
        folder = run.folder / "adapters" / arm
        if done and (folder / "card.json").is_file():
            card = read_card(folder)
            yield exact_row(thing, f"{arm}: rows trained on", done[-1].rows, card.rows)
            yield exact_row(thing, f"{arm}: steps", done[-1].steps, card.steps)
    if any(isinstance(one, AnswersScored) for one in events):
        yield not_replayed(thing, "held-out answers by epoch", "the model in training is not kept; train again")


def replay_adapter(thing: str, folder: Path, run: Run | None) -> list[ReplayRow]:
    """Whether the rows that an adapter was trained on are those of the run's corpus."""
    card = read_card(folder)
    if run is None:
        return [not_replayed(thing, "rows trained on", "its run is not on this machine")]
    try:
        return [_trained_on(thing, card, run)]
    except SpdError as error:
        return [not_replayed(thing, "rows trained on", str(error))]


def _trained_on(thing: str, card: AdapterCard, run: Run) -> ReplayRow:
    from spd_core.distill.checkpoints import rows_digest

    recipe = run.record.distillation
    if card.arm is None:
        raise InputError("its card names no arm")
    name = recipe.corpus_name(card.arm) if card.rounds == 1 else card.arm
    rows = read_corpus(corpus_path(run.folder, name, card.rounds))
    left = divided_by(recipe, rows, run.rejected().get(name, ())).trained
    trained = sorted(left, key=lambda row: row.number)  # a corpus is written by length, and trained on in its order
    return exact_row(thing, "rows trained on", card.corpus[:16], rows_digest(trained)[:16], _DIGEST)
