"""What to ask next: the evaluation of a finished run, the controls that a claim still needs, more items of a set.

Every proposal is a whole recipe that keeps all other settings, so that what was answered already is only read. Starts
nothing. Imports no torch: pages ask, too.
"""

from collections.abc import Sequence

from spd_core.distill.checks import examples_of
from spd_core.distill.trained import trained_by
from spd_core.errors import InputError
from spd_core.evaluation.controls import alike, role, trained_in
from spd_core.intervention.cards import is_finished, read_card
from spd_core.recipes.distill import ArmName, Recipe
from spd_core.recipes.evaluation import CONTROLS, NAMED, EvaluationRecipe, Subject
from spd_core.recipes.sets import EvalSet, split_of
from spd_core.runs.folder import Run, open_run
from spd_core.runs.states import state_of

# --- of a run ----------------------------------------------------------------------------------------------------


def evaluation_of(run: Run) -> EvaluationRecipe:
    """The evaluation of a run's arms on what they were trained for: base, finished arms, and every control that a
    claim of SPD needs.

    The arms are named with the run's own settings, so that they are found where they were trained, and only those that
    are missing are trained. Where that would not find them (see `why_by_name`), finished ones are named RUN/ARM, and no
    control is added: it could not be made alike.

    Raises:
        InputError: no arm of it has finished; it is recorded, without the weights that would answer; or a damaged card.
    """
    run.refuse_recorded()
    recipe, finished = run.record.distillation, finished_arms(run)
    if not finished:
        raise InputError(f"{run.id} has trained no arm to its end; resume it first")
    if why_by_name(run):
        subjects = [Subject(kind="distilled", adapter=f"{run.id}/{arm}") for arm in finished]
    else:
        needed = [control for arm in finished for control in CONTROLS.get(arm, {})]
        subjects = [NAMED[arm] for arm in dict.fromkeys([*finished, *needed])]
    sets = (EvalSet(capability=recipe.capability, split=split_of(recipe.capability, "")),)
    return _with_settings_of(run, EvaluationRecipe(subjects=(NAMED["base"], *subjects), sets=sets))


def _with_settings_of(run: Run, evaluation: EvaluationRecipe) -> EvaluationRecipe:
    """The evaluation whose own arms are made as the run's are."""
    recipe = run.record.distillation
    return _changed(
        evaluation,
        capability=recipe.capability,
        model=recipe.model,
        revision=recipe.revision,
        dtype=recipe.dtype,
        prompt_style=recipe.corpus.prompt_style,
        **_made_as(recipe),
    )


def _made_as(recipe: Recipe) -> dict[str, object]:
    """How a run captures, writes and trains, as settings of an evaluation."""
    names = "capture", "corpus", "train", "rollout", "omniopd", "rounds"
    return {**{name: getattr(recipe, name) for name in names}, "seeds": (recipe.seed,)}


def finished_arms(run: Run) -> tuple[ArmName, ...]:
    """The arms that a run has trained to their end, in all rounds.

    Raises:
        InputError: a damaged card.
    """
    recipe = run.record.distillation
    folders = {arm: run.folder / "adapters" / arm for arm in recipe.arms}
    ended = {arm: read_card(folder) for arm, folder in folders.items() if is_finished(folder)}
    return tuple(arm for arm, card in ended.items() if card.rounds == recipe.rounds)


def why_by_name(run: Run) -> str:
    """Why the arms of a run can only be named RUN/ARM, and no further control be made alike, as a sentence; empty where
    they are found by their settings.

    Raises:
        InputError: its rejected rows, its status or a card cannot be read.
    """
    recipe, state = run.record.distillation, state_of(run)
    if any(run.rejected().values()):
        return (
            f"Rows of the corpora of {run.id} were rejected by hand: an arm that is trained now would learn from all "
            "its rows, and be no control."
        )
    if recipe.seed != recipe.train.seed:
        return (
            f"{run.id} trained with the seed {recipe.train.seed} what it wrote with the seed {recipe.seed}, and the "
            "arms of an evaluation have one seed for both."
        )
    if state != "done":
        return f"{run.id} is {state}: arms are found by their settings in finished runs alone. Resume it first."
    finished = finished_arms(run)
    if finished and set(trained_by(recipe.model_copy(update={"arms": finished}))) != set(finished):
        return (
            f"The capability or the model was edited since {run.id} began, or it did not note what they were: an arm "
            "that is trained now would learn from something else, and be no control."
        )
    return ""


# --- controls ----------------------------------------------------------------------------------------------------


def missing_controls(recipe: EvaluationRecipe, subject_name: str) -> tuple[Subject, ...]:
    """The controls that a claim of a subject needs, that the recipe does not name, and that can be made as the subject
    was (see `with_controls`); which cannot, `why_no_control` says.

    Raises:
        InputError: the recipe names no such subject.
    """
    subject = _subject(recipe, subject_name)
    found = (_made_like(recipe, subject, control) for control in _wanting(recipe, subject))
    return tuple(one for one in found if one is not None)


def why_no_control(recipe: EvaluationRecipe, subject_name: str) -> str:
    """Which controls of a subject cannot be made alike, and why, as a sentence; empty where all can."""
    subject = _subject(recipe, subject_name)
    lost = [control for control in _wanting(recipe, subject) if _made_like(recipe, subject, control) is None]
    if not lost:
        return ""
    names = ", ".join(NAMED[control].title for control in lost)
    if subject.capture:
        return f"{names}: captured again, and {subject.capture} was captured before; they would not be alike."
    return (
        f"{names}: cannot be trained as {subject.title} was. Rows of its run were rejected, its capability or model "
        "was edited since, or this evaluation trains its own arms with other settings."
    )


def with_controls(recipe: EvaluationRecipe, subject_names: Sequence[str]) -> EvaluationRecipe:
    """The same evaluation with the controls that claims of these subjects need.

    Where arms have to be trained for an adapter RUN/ARM, and the evaluation makes nothing by its own settings yet,
    those of the run become its own.

    Raises:
        InputError: the recipe names no such subject.
    """
    for name in subject_names:
        subject, added = _subject(recipe, name), missing_controls(recipe, name)
        if any(one.arm for one in added) and not _makes_its_own(recipe):
            recipe = _adopting(recipe, subject)
        for one in added:
            recipe = _with(recipe, one, subject.title)
    return recipe


def _wanting(recipe: EvaluationRecipe, subject: Subject) -> list[str]:
    """Controls that no subject of the recipe is, by their roles."""
    have = {role(one) for one in recipe.subjects if alike(recipe, subject, one)}
    return [control for control in CONTROLS.get(role(subject), {}) if control not in have]


def _made_like(recipe: EvaluationRecipe, subject: Subject, control: str) -> Subject | None:
    """A control made as a subject is, in all but its role; None where it cannot be."""
    if subject.adapter:
        return _adapter_like(recipe, subject, control)
    if subject.arm:
        return NAMED[control]
    if subject.capture and NAMED[control].of in ("full loss", "shuffled answers"):
        return None
    made = {name: getattr(subject, name) for name in ("rank", "strength", "kinds", "layers", "capture")}
    return NAMED[control].model_copy(update=made)


def _adapter_like(recipe: EvaluationRecipe, subject: Subject, control: str) -> Subject | None:
    """An adapter that is there: of the same run, else of another one; else an arm that this evaluation will train."""
    run = subject.adapter.partition("/")[0]
    known = trained_in(subject.adapter)
    own = Subject(kind="distilled", adapter=f"{run}/{control}")
    if _is_there(own):
        return own
    if known is None:
        return None
    arm = NAMED[control].arm
    for other in trained_by(known.recipe.model_copy(update={"arms": (arm,)})).values():
        found = Subject(kind="distilled", adapter=f"{other.id}/{arm}")
        if alike(recipe, subject, found):
            return found
    asked = recipe if _makes_its_own(recipe) else _adopting(recipe, subject)
    return NAMED[control] if alike(_with(asked, NAMED[control]), subject, NAMED[control]) else None


def _is_there(subject: Subject) -> bool:
    run, _, arm = subject.adapter.partition("/")
    try:
        return arm in finished_arms(open_run(run))
    except InputError:
        return False


def _makes_its_own(recipe: EvaluationRecipe) -> bool:
    """Whether a subject is made by the evaluation's own settings of capturing, writing and training."""
    return any(one.arm or (one.kind == "projected" and not one.capture) for one in recipe.subjects)


def _adopting(recipe: EvaluationRecipe, subject: Subject) -> EvaluationRecipe:
    """The recipe with the settings by which the run of an adapter has made its arms."""
    known = trained_in(subject.adapter)
    if known is None:
        return recipe
    return _changed(recipe, **_made_as(known.recipe))


def _with(recipe: EvaluationRecipe, added: Subject, like: str = "") -> EvaluationRecipe:
    """The recipe with one more subject, which says whom it is like where its own name is taken."""
    if added in recipe.subjects:
        return recipe
    if added.name in {one.name for one in recipe.subjects}:
        added = added.model_copy(update={"label": f"{added.title}, as {like}"[:120]})
    return _changed(recipe, subjects=(*recipe.subjects, added))


# --- items -------------------------------------------------------------------------------------------------------


def with_items(recipe: EvaluationRecipe, set_name: str, n: int) -> EvaluationRecipe:
    """The same evaluation with the first `n` items of a set (of each task, where it is a group of the harness), or all
    where it has fewer. What could be seen then is `statistics.detectable_with`.

    Raises:
        InputError: the recipe has no such set, n is below 1, or the set cannot be read.
    """
    if n < 1:
        raise InputError(f"{n} items are none; ask for 1 or more")
    old = _set(recipe, set_name)
    whole = items_of(old)
    new = old.model_copy(update={"limit": None if whole is not None and n >= whole else n})
    return _changed(recipe, sets=tuple(new if one == old else one for one in recipe.sets))


def items_of(wanted: EvalSet) -> int | None:
    """How many items the split of a set has; None for a public set on the hub or a task, which are not read for this.

    Raises:
        InputError: nothing of that name, no such file, or no item in the split.
    """
    if wanted.task is not None:
        return None
    found = examples_of(wanted.capability, wanted.split, wanted.data)
    return None if found is None else len(found.examples)


# --- parts of a recipe -------------------------------------------------------------------------------------------


def _subject(recipe: EvaluationRecipe, name: str) -> Subject:
    for subject in recipe.subjects:
        if subject.name == name:
            return subject
    raise InputError(f"no subject {name!r}; there are {', '.join(one.name for one in recipe.subjects)}")


def _set(recipe: EvaluationRecipe, name: str) -> EvalSet:
    for one in recipe.sets:
        if one.name == name:
            return one
    raise InputError(f"no set {name!r}; there are {', '.join(one.name for one in recipe.sets)}")


def _changed(recipe: EvaluationRecipe, **changes: object) -> EvaluationRecipe:
    own = {name: getattr(recipe, name) for name in EvaluationRecipe.model_fields}
    return EvaluationRecipe.model_validate({**own, **changes})
