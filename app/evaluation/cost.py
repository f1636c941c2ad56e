"""What an evaluation will cost, before it starts, and what its number of items could show at all."""

from collections.abc import Mapping

import streamlit as st

from app.evaluation.form import Chosen
from app.evaluation.sets import facts_of
from app.jobs.models import preparation
from app.runs.cost import cost_and_prompts
from app.ui.widgets import caption, counted, duration, escaped
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.trained import still_to_train
from spd_core.errors import InputError
from spd_core.evaluation.costs import cost_of_evaluation, measured_answers
from spd_core.evaluation.statistics import FEWEST, minimum_detectable
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvalSet, EvaluationRecipe
from spd_core.runs.costs import Cost, Rates, measured_rates

DISCORDANCE = 1 / 3
"""Share of items of which one of two subjects is right, for the smallest effect: what controls of the built-in model
come to."""


def panel(chosen: Chosen) -> None:
    """One line with everything, and where its numbers come from."""
    recipe, facts = chosen.recipe, chosen.facts
    if len(facts) < len(recipe.sets):
        return
    stages, answers = measured_rates(recipe.model), measured_answers(recipe.model)
    wanted = [one for seed in recipe.seeds if (one := recipe.distillation(seed)) is not None]
    left = [one for one in map(still_to_train, wanted) if one is not None]
    arms = [_arms(one, stages) for one in left]
    cost = cost_of_evaluation(
        recipe,
        {name: one.items for name, one in facts.items()},
        {name: one.scorer for name, one in facts.items()},
        _examples(recipe),
        answers,
        stages,
        arms,
    )
    time = "time not known yet" if cost.seconds is None else f"about {duration(cost.seconds)} at most"
    pieces = [f"**{time}**", counted(cost.cells, "cell")]
    pieces += [counted(cost.items, "answer")] if cost.items is not None else ["answers not counted yet"]
    pieces += [counted(cost.captures, "capture")] if cost.captures else []
    training = [one.seconds for one in arms if one is not None and one.seconds is not None]
    missing, done = (sum(len(one.arms) for one in recipes) for recipes in (left, wanted))
    done -= missing
    if training:
        pieces.append(f"of it {duration(sum(training))} to train {counted(missing, 'arm')}")
    if done:
        pieces.append("the arms are trained already" if not missing else f"{counted(done, 'arm')} trained already")
    st.markdown(f"Cost: {' · '.join(pieces)}")
    if cost.seconds is not None and answers is not None:
        caption(f"Rates: {escaped(answers.source)}. What was answered before is not asked again, and costs nothing.")
    else:
        caption(
            "Nothing was measured yet for this model or this size: the run tells, as it goes on, how long it takes."
        )


def _arms(wanted: Recipe, stages: Rates | None) -> Cost | None:
    """What training costs; None where that is not known."""
    if wanted.capability in PUBLIC_SETS:  # it is on the hub
        return None
    try:
        return cost_and_prompts(wanted, preparation(wanted.model, wanted.revision).result, stages)[0]
    except InputError:  # said elsewhere
        return None


def _examples(recipe: EvaluationRecipe) -> int | None:
    """Calibration examples; of a public data set, those that are asked for."""
    if recipe.capability in PUBLIC_SETS:
        return recipe.capture.examples
    try:
        return facts_of(EvalSet(capability=recipe.capability, split="calibration")).whole
    except InputError:
        return None


# --- what could be seen ------------------------------------------------------------------------------------------


def say_power(chosen: Chosen) -> None:
    """The smallest difference that so many items can show. Imports scipy: to be drawn when all else is."""
    sizes = {name: one.items for name, one in chosen.facts.items() if one.scorer != "nll"}
    power_in_words = power({name: n for name, n in sizes.items() if n is not None})
    if power_in_words:
        caption(power_in_words)


def power(sizes: Mapping[str, int]) -> str:
    """`With 60 items, …`; empty where no set is scored as right or wrong."""
    parts = [_power_of(n) for n in sorted(set(sizes.values()))]
    if not parts:
        return ""
    return (
        f"What this can show: {'; '.join(parts)} (exact McNemar test at 5 %, 80 % power, if a third of the answers "
        "change). Intervals and tests come with the results."
    )


@st.cache_data(max_entries=500, show_spinner=False)
def _power_of(n: int) -> str:
    if n < FEWEST:
        return f"with {counted(n, 'item')}, no difference can reach significance"
    points = round(100 * minimum_detectable(n, DISCORDANCE))
    return f"with {counted(n, 'item')}, a difference below about **{points} points** is likely to go unseen"
