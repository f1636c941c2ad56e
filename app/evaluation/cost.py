"""What an evaluation will cost, before it starts, and what its number of items could show at all."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from app.evaluation.form import Chosen
from app.jobs.models import preparation
from app.runs.cost import cost_and_prompts
from app.ui.widgets import counted, duration, escaped
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.trained import still_to_train
from spd_core.errors import InputError
from spd_core.evaluation.costs import EvaluationCost, answering, cost_of_evaluation, measured_answers
from spd_core.evaluation.set_facts import SetFacts, facts_by_name, set_facts
from spd_core.evaluation.statistics import FEWEST, minimum_detectable
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.recipes.sets import EvalSet
from spd_core.runs.costs import Cost, Rates, measured_rates

DISCORDANCE = 1 / 3
"""Share of items of which one of two subjects is right, for the smallest effect: what controls of the built-in model
come to."""


@dataclass(frozen=True)
class Priced:
    """What an evaluation costs, and what its arms are part of it.

    Attributes:
        training: seconds of training arms, as far as they are known.
        to_train, trained: arms that are still to be trained, and that are there, each seed counted.
        written, taught: new tokens that those arms write to learn from, and that their teachers write, at most.
        source: where the rates were measured; empty where they are not known.
    """

    cost: EvaluationCost
    training: float
    to_train: int
    trained: int
    source: str
    written: int = 0
    taught: int = 0


def priced(recipe: EvaluationRecipe, facts: Mapping[str, SetFacts]) -> Priced:
    """What an evaluation costs at most, as if nothing had been answered before."""
    stages = measured_rates(recipe.model, recipe.corpus.writer)
    answers = measured_answers(recipe.model, recipe.writer)
    wanted = [one for seed in recipe.seeds if (one := recipe.distillation(seed)) is not None]
    left = [one for one in map(still_to_train, wanted) if one is not None]
    arms = [_arms(one, stages) for one in left]
    cost = cost_of_evaluation(recipe, facts, _examples(recipe), answers, stages, arms)
    missing, every = (sum(len(one.arms) for one in recipes) for recipes in (left, wanted))
    known = [one for one in arms if one is not None]
    return Priced(
        cost,
        sum(one.seconds or 0.0 for one in known),
        missing,
        every - missing,
        "" if answers is None else answers.source,
        sum(one.corpus_tokens + one.rollout_tokens for one in known),
        sum(one.teacher_tokens for one in known),
    )


def added_seconds(proposed: EvaluationRecipe, answered: EvaluationRecipe) -> float | None:
    """What a proposal takes at most beyond an evaluation whose cells are filled; None where that is not known.

    Raises:
        InputError: a set cannot be read (any more).
    """
    stages = measured_rates(answered.model, answered.corpus.writer)
    answers = measured_answers(answered.model, answered.writer)
    again = None if answers is None else answers.model_copy(update={"start": 0.0})  # an engine is started anew
    there = answering(answered, facts_by_name(answered.sets), again, stages)
    whole = priced(proposed, facts_by_name(proposed.sets)).cost.seconds
    return None if whole is None or there is None else max(0.0, whole - there)


def in_short(recipe: EvaluationRecipe) -> str:
    """`about 3 min at most`, or that it is not known."""
    try:
        seconds = priced(recipe, facts_by_name(recipe.sets)).cost.seconds
    except InputError:  # said below, where the set is chosen
        seconds = None
    return "time not known yet" if seconds is None else f"about {duration(seconds)} at most"


def panel(chosen: Chosen) -> None:
    """One line with everything; where its numbers come from is its help."""
    recipe, facts = chosen.recipe, chosen.facts
    if len(facts) < len(recipe.sets):
        return
    found = priced(recipe, facts)
    cost = found.cost
    time = "time not known yet" if cost.seconds is None else f"about {duration(cost.seconds)} at most"
    pieces = [f"**{time}**", counted(cost.cells, "cell")]
    pieces += [counted(cost.items, "answer")] if cost.items is not None else ["answers not counted yet"]
    pieces += [counted(cost.captures, "capture")] if cost.captures else []
    if found.training:
        pieces.append(f"of it {duration(found.training)} to train {counted(found.to_train, 'arm')}")
    if found.written:
        pieces.append(f"{found.written:,} new tokens to train on")
    if found.taught:
        pieces.append(f"{found.taught:,} by teachers")
    if found.trained:
        done = f"{counted(found.trained, 'arm')} trained already"
        pieces.append(done if found.to_train else "the arms are trained already")
    known = cost.seconds is not None and found.source
    st.markdown(
        f"Cost: {' · '.join(pieces)}",
        help=f"Rates: {escaped(found.source)}. What was answered before is not asked again, and costs nothing."
        if known
        else "Nothing was measured yet for this model, this size or who answers: the run tells, as it goes on, how "
        "long it takes.",
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
        return set_facts(EvalSet(capability=recipe.capability, split="calibration")).whole
    except InputError:
        return None


# --- what could be seen ------------------------------------------------------------------------------------------


def say_power(chosen: Chosen) -> None:
    """The smallest difference that so many items can show. Imports scipy: to be drawn when all else is."""
    drawn = {one.name: one.samples for one in chosen.recipe.sets}  # answers to one item are no further items
    sizes = {name: one.items for name, one in chosen.facts.items() if one.scorer != "nll"}
    power_in_words = power({name: n // drawn.get(name, 1) for name, n in sizes.items() if n is not None})
    if power_in_words:
        st.markdown(
            f":small[{power_in_words}]",
            help="By the exact McNemar test at 5% with 80% power, if a third of the answers change.",
        )


def power(sizes: Mapping[str, int]) -> str:
    """`With 60 items, …`; empty where no set is scored as right or wrong."""
    parts = [_power_of(n) for n in sorted(set(sizes.values()))]
    if not parts:
        return ""
    return f"What this can show: {'; '.join(parts)}."


@st.cache_data(max_entries=500, show_spinner=False)
def _power_of(n: int) -> str:
    if n < FEWEST:
        return f"with {counted(n, 'item')}, no difference can reach significance"
    points = round(100 * minimum_detectable(n, DISCORDANCE))
    return f"with {counted(n, 'item')}, a difference below about **{points} points** is likely to go unseen"
