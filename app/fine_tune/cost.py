"""What a run will cost, before it starts: tokens, minutes, memory, disk."""

import streamlit as st

from app.jobs.models import distillation_memory, free_memory, preparation
from app.runs.cost import cost_and_prompts
from app.ui.widgets import caption, duration, escaped, gib
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.runs.costs import CHARACTERS_PER_TOKEN, measured_rates
from spd_core.storage import free_space


def seconds_of(recipe: Recipe) -> float | None:
    """How long a recipe takes at most; None where that is not known."""
    if recipe.capability in PUBLIC_SETS:
        return None
    try:
        prepared = preparation(recipe.model, recipe.revision).result
        return cost_and_prompts(recipe, prepared, measured_rates(recipe.model, recipe.corpus.writer))[0].seconds
    except InputError:  # the panel says what is wrong
        return None


def panel(recipe: Recipe) -> None:
    """One box with everything, and where its numbers come from."""
    if recipe.capability in PUBLIC_SETS:
        caption("What it costs is known once its data set is loaded: that happens when the run starts.")
        return
    prepared, rates = (
        preparation(recipe.model, recipe.revision).result,
        measured_rates(recipe.model, recipe.corpus.writer),
    )
    try:
        cost, texts = cost_and_prompts(recipe, prepared, rates)
    except InputError as error:
        st.warning(escaped(str(error)), icon=":material/warning:")
        return
    unknown = "not measured yet for this model" if recipe.corpus.writer.here else "not measured yet with this engine"
    time = unknown if cost.seconds is None else f"at most {duration(cost.seconds)}"
    written = cost.corpus_tokens + cost.rollout_tokens
    facts = [f"**{time}**", f"{written:,} new tokens"]
    facts += [f"{cost.teacher_tokens:,} by teachers"] if cost.teacher_tokens else []
    facts.append(f"{cost.train_tokens:,} tokens trained on")
    if prepared is not None:
        longest = max(map(len, texts)) / CHARACTERS_PER_TOKEN + recipe.corpus.max_new_tokens
        needed, free = distillation_memory(prepared, recipe, round(longest)), free_memory()
        facts.append(f"{gib(needed)} of memory")
        if needed > free:
            st.warning(
                f"It may not fit: {gib(free)} are free. Choose fewer rows in a step, fewer new tokens, or a "
                "smaller model.",
                icon=":material/memory:",
            )
    if cost.disk is not None:
        facts.append(f"{cost.disk / 2**20:,.0f} MiB of {gib(free_space())} free disk")
    source = (
        f"Rates: {escaped(rates.source)}. Completions are often shorter than allowed, so it is less." if rates else None
    )
    st.markdown(f"Cost: {' · '.join(facts)}", help=source)
