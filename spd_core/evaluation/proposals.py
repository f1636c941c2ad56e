"""What to ask next: the evaluation of a finished run, the controls that a claim still needs, more items of a set.

Every proposal is a whole recipe that keeps all other settings, so that what was answered already is only read. Starts
nothing. Imports no torch: pages ask, too.
"""

from pathlib import Path

from spd_core.data.catalog import find_capability
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.evaluation.controls import alike, role
from spd_core.intervention.cards import CARD, read_card
from spd_core.recipes.distill import ArmName
from spd_core.recipes.evaluation import CONTROLS, NAMED, EvalSet, EvaluationRecipe, Subject
from spd_core.runs.folder import Run


def evaluation_of(run: Run) -> EvaluationRecipe:
    """The evaluation of a run's arms on what they were trained for: base, finished arms, and every control that a
    claim of SPD needs.

    The arms are named with the run's own settings, so that they are found where they were trained, and only those that
    are missing are trained. Where that would not find them (see `why_by_name`), finished ones are named RUN/ARM, and no
    control is added: it could not be made alike.

    Raises:
        InputError: no arm of it has finished; or a damaged card.
    """
    recipe, finished = run.record.distillation, finished_arms(run)
    if not finished:
        raise InputError(f"{run.id} has trained no arm to its end; resume it first")
    if why_by_name(run):
        subjects = [Subject(kind="distilled", adapter=f"{run.id}/{arm}") for arm in finished]
    else:
        needed = [control for arm in finished for control in CONTROLS.get(arm, {})]
        subjects = [NAMED[arm] for arm in dict.fromkeys([*finished, *needed])]
    return EvaluationRecipe(
        capability=recipe.capability,
        model=recipe.model,
        revision=recipe.revision,
        dtype=recipe.dtype,
        subjects=(NAMED["base"], *subjects),
        sets=(EvalSet(capability=recipe.capability),),
        capture=recipe.capture,
        corpus=recipe.corpus,
        train=recipe.train,
        rounds=recipe.rounds,
        seeds=(recipe.seed,),
        prompt_style=recipe.corpus.prompt_style,
    )


def finished_arms(run: Run) -> tuple[ArmName, ...]:
    """The arms that a run has trained to their end.

    Raises:
        InputError: a damaged card.
    """
    folders = {arm: run.folder / "adapters" / arm for arm in run.record.distillation.arms}
    return tuple(arm for arm, folder in folders.items() if (folder / CARD).is_file() and read_card(folder).finished)


def why_by_name(run: Run) -> str:
    """Why the arms of a run can only be named RUN/ARM, and no further control be made alike; empty where they are
    found by their settings.

    Raises:
        InputError: its rejected rows cannot be read.
    """
    recipe = run.record.distillation
    if any(run.rejected().values()):
        return (
            f"rows of the corpora of {run.id} were rejected by hand: a new arm would learn from all of its rows, and "
            "be no control"
        )
    if recipe.seed != recipe.train.seed:
        return (
            f"{run.id} trained with the seed {recipe.train.seed} what it wrote with the seed {recipe.seed}, and arms "
            "of an evaluation have one seed for both"
        )
    return ""


def missing_controls(recipe: EvaluationRecipe, subject_name: str) -> tuple[Subject, ...]:
    """The controls that a claim of a subject needs and the recipe does not name, made as the subject is.

    Raises:
        InputError: the recipe names no such subject.
    """
    subject = _subject(recipe, subject_name)
    wanted = [_like(subject, control) for control in CONTROLS.get(role(subject), {})]
    have = [(role(one), one) for one in recipe.subjects]
    return tuple(
        control for control in wanted if not any(name == role(control) and alike(one, control) for name, one in have)
    )


def with_controls(recipe: EvaluationRecipe, subject_names: tuple[str, ...]) -> EvaluationRecipe:
    """The same evaluation with the controls that claims of these subjects need; errors as `missing_controls`."""
    added: list[Subject] = []
    for name in subject_names:
        added += [one for one in missing_controls(recipe, name) if one not in added]
    return _changed(recipe, {"subjects": (*recipe.subjects, *added)})


def with_items(recipe: EvaluationRecipe, set_name: str, n: int) -> EvaluationRecipe:
    """The same evaluation with the first `n` items of a set, or all where it has fewer.

    Raises:
        InputError: the recipe has no such set, n is below 1, or the set cannot be read.
    """
    if n < 1:
        raise InputError(f"{n} items are none; ask for 1 or more")
    old = _set(recipe, set_name)
    whole = items_of(old)
    limit = None if whole is not None and n >= whole else n
    new = old.model_copy(update={"limit": limit})
    return _changed(recipe, {"sets": tuple(new if one == old else one for one in recipe.sets)})


def items_of(wanted: EvalSet) -> int | None:
    """How many items the split of a set has; None for a public set on the hub, which is not read for this.

    Raises:
        InputError: nothing of that name, no such file, or no item in the split.
    """
    if wanted.capability in PUBLIC_SETS and not wanted.data:
        return None
    data = Path(wanted.data).expanduser() if wanted.data else None
    return len(find_capability(wanted.capability, data, wanted.split).examples)


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


def _like(subject: Subject, control: str) -> Subject:
    """A control made as a subject is, in all but its role."""
    if subject.adapter:
        return Subject(kind="distilled", adapter=f"{subject.adapter.partition('/')[0]}/{control}")
    made = {name: getattr(subject, name) for name in ("rank", "strength", "kinds", "layers", "capture")}
    return NAMED[control].model_copy(update={} if subject.arm else made)


def _changed(recipe: EvaluationRecipe, update: dict[str, object]) -> EvaluationRecipe:
    return EvaluationRecipe.model_validate({**recipe.model_dump(), **update})
