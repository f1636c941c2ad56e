"""The form of a recipe: a preset, the arms, and every setting. What the settings mean is in `recipes/distill.py`."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.runs.form import SETTING_GROUPS, FieldLabel, FilledForm, setting_widgets
from app.ui import session
from app.ui.widgets import failure
from spd_core.data.capability import builtin_names
from spd_core.data.catalog import saved_capabilities
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.recipes.distill import ARMS, Recipe, recipe_from, short_name
from spd_core.recipes.presets import PRESETS

_RUN = {
    "model": FieldLabel("Model", "builtin, a Hugging Face id, or a local folder."),
    "revision": FieldLabel("Revision", "Branch, tag or commit on the hub; empty takes the newest."),
    "dtype": FieldLabel("Number format", "auto: bfloat16 where the hardware multiplies it, else float32."),
    "rounds": FieldLabel("Rounds", "Each captures, writes and trains again, from the merged model before it."),
    "drift": FieldLabel("Measure the drift", "Capture once more on every trained model."),
    "review": FieldLabel("Wait for my review", "Pause when the corpora are written, so that rows can be rejected."),
    "seed": FieldLabel("Seed", "Of the corpus' noise and of the random subspace."),
}
_FORM = FilledForm(session.RECIPE_BASE, session.RECIPE_FORM, session.RECIPE_WIDGETS)
_ARM_LABELS = {name: arm.label for name, arm in ARMS.items()}


def load_recipe(recipe: Recipe) -> None:
    """Fill the form: from a preset, a file, or an earlier run."""
    _FORM.fill(recipe)


def fill_recipe(settings: Any) -> None:
    """Fill the form with what a file says; `InputError` where that is no recipe."""
    load_recipe(recipe_from(settings))


def pick_recipe() -> Recipe | None:
    """The form; None, with the reason on the page, while a setting is senseless."""
    if _FORM.settings is None:
        load_recipe(recipe_from({"preset": "quick", "capability": "arithmetic"}))
    base = _FORM.settings or {}
    capability, arms, below = _pick_first(base)
    with st.expander("All settings", icon=":material/tune:", key=session.RECIPE_OPEN, on_change="rerun"):
        tabs = st.tabs(["Capture", "Corpus", "Training", "Model and run"])
        chosen: dict[str, Any] = {"capability": capability, "arms": arms}
        for tab, (name, kind, labels) in zip(tabs, SETTING_GROUPS, strict=False):
            with tab:
                chosen[name] = setting_widgets(kind, labels, base[name], _FORM.key(name))
        with tabs[-1]:
            chosen |= setting_widgets(Recipe, _RUN, base, _FORM.key("run"))
    try:
        recipe: Recipe | None = recipe_from(chosen)
    except InputError as error:
        failure("This cannot be run:", str(error))
        recipe = None
    with below:
        _pick_preset(recipe)
    return recipe


def _pick_first(base: Mapping[str, Any]) -> tuple[str, list[str], Any]:
    """What is chosen before anything else: capability and arms; and where the presets go."""
    left, right = st.columns((2, 3), gap="medium")
    known = list(dict.fromkeys((*builtin_names(), *saved_capabilities(), *PUBLIC_SETS, base["capability"])))
    capability = left.selectbox(
        "Capability",
        known,
        known.index(base["capability"]),
        key=_FORM.key("capability"),
        persist_state="session",
        help="Built in, your own (import them on Home), or a public data set.",
    )
    below = left.container()
    arms = right.pills(
        "Arms",
        tuple(ARMS),
        selection_mode="multi",
        default=base["arms"],
        key=_FORM.key("arms"),
        persist_state="session",
        format_func=_ARM_LABELS.__getitem__,
        help="Each writes a corpus on the same prompts with the same noise, and "
        "is trained on it with the same settings.",
    )
    isolates = ", ".join(f"**{short_name(arm)}** {ARMS[arm].isolates}" for arm in arms)
    right.markdown(f":small[What each isolates: {isolates}.]" if arms else ":small[Choose at least one.]")
    return capability or base["capability"], list(arms), below


def _pick_preset(recipe: Recipe | None) -> None:
    """Presets, drawn after the settings: which one these amount to is shown."""
    made = {name: _preset(name, recipe) for name in PRESETS} if recipe is not None else {}
    st.session_state[_FORM.key("preset")] = next((name for name, found in made.items() if found == recipe), None)
    st.segmented_control(
        "Preset",
        tuple(PRESETS),
        key=_FORM.key("preset"),
        on_change=_take_preset,
        args=(recipe,),
        help="**quick**: minutes on two cores with the built-in model. **paper**: the paper's settings.",
    )


def _preset(name: str, recipe: Recipe) -> Recipe:
    """A preset for the same capability, model and arms."""
    kept = {what: getattr(recipe, what) for what in ("capability", "model", "revision", "dtype", "arms")}
    return recipe_from({"preset": name, **kept})


def _take_preset(recipe: Recipe | None) -> None:
    name = st.session_state[_FORM.key("preset")]
    if name and recipe is not None:
        load_recipe(_preset(name, recipe))
