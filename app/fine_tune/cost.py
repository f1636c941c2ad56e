"""What a run will cost, before it starts: tokens, minutes, memory, disk."""

import shutil

import streamlit as st

from app.jobs.models import Prepared, distillation_memory, free_memory, preparation
from app.runs.panel import duration
from app.ui.widgets import gib, plain, small
from spd_core.data.public import TASKS, find_capability
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe
from spd_core.runs.costs import Cost, Rates, cost_of, measured_rates
from spd_core.storage import spd_home

_CHARACTERS = 3.6
"""Characters of a token, about, where no tokenizer is at hand."""


def panel(recipe: Recipe) -> None:
    """One box with everything, and where its numbers come from."""
    if recipe.capability in TASKS:
        small("What it costs is known once its data set is loaded: that happens when the run starts.")
        return
    prepared, rates = preparation(recipe.model, recipe.revision).result, measured_rates(recipe.model)
    try:
        cost, texts = cost_and_prompts(recipe, prepared, rates)
    except InputError as error:
        st.warning(plain(str(error)), icon=":material/warning:")
        return
    time = "not measured yet for this model" if cost.seconds is None else f"at most {duration(cost.seconds)}"
    parts = [f"**{time}**", f"{cost.corpus_tokens:,} new tokens", f"{cost.train_tokens:,} tokens trained on"]
    if prepared is not None:
        longest = max(map(len, texts)) / _CHARACTERS + recipe.corpus.max_new_tokens
        needed, free = distillation_memory(prepared, recipe, round(longest)), free_memory()
        parts.append(f"{gib(needed)} of memory")
        if needed > free:
            st.warning(f"It may not fit: {gib(free)} are free. Choose fewer rows in a step, fewer new tokens, or a "
                       "smaller model.", icon=":material/memory:")  # fmt: skip
    if cost.disk is not None:
        parts.append(f"{cost.disk / 2**20:,.0f} MiB of {gib(_free_disk())} free disk")
    st.markdown(f"Cost: {' · '.join(parts)}")
    if rates is not None:
        small(f"Rates: {plain(rates.source)}. Completions are often shorter than allowed, so it is less.")


def cost_and_prompts(recipe: Recipe, prepared: Prepared | None, rates: Rates | None) -> tuple[Cost, list[str]]:
    """What a distillation costs, and the prompts that it writes on; for a public data set, it asks the hub.

    Raises:
        InputError: the capability is not there, or a split of it is empty.
    """
    prompts = find_capability(recipe.capability, split=recipe.corpus.split)
    examples = len(find_capability(recipe.capability).examples)
    chosen = prompts.limited(recipe.corpus.prompts).examples
    texts = [prompts.settings.template.replace("{prompt}", example.prompt) for example in chosen]
    card = prepared.card if prepared else None
    return cost_of(recipe, len(prompts.examples), _mean_tokens(texts, prepared), examples, rates, card), texts


def _mean_tokens(texts: list[str], prepared: Prepared | None) -> float:
    if prepared is None:
        return sum(map(len, texts)) / _CHARACTERS / max(len(texts), 1)
    few = texts[:: max(1, len(texts) // 32)]
    return sum(len(ids) for ids in prepared.tokenizer(few, verbose=False)["input_ids"]) / max(len(few), 1)


def _free_disk() -> int:
    home = spd_home()
    return shutil.disk_usage(home if home.exists() else home.parent if home.parent.exists() else "/").free
