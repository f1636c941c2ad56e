"""The form of a recipe: a preset, the arms, and every setting. What the settings mean is in `recipes/distill.py`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.fine_tune import cost
from app.runs.form import SETTING_GROUPS, FieldLabel, FilledForm, own_text_widgets, pick_without, setting_widgets
from app.runs.writer import pick_writer
from app.ui import session
from app.ui.widgets import caption, counted, duration, failure
from spd_core.data.capability import builtin_names
from spd_core.data.catalog import saved_capabilities
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.recipes.distill import ARMS, ArmName, Recipe, recipe_from, short_name
from spd_core.recipes.on_policy import away_from_the_paper
from spd_core.recipes.presets import PRESETS, PRESETS_DO, PresetName

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_RUN = {
    "model": FieldLabel("Model", "builtin, gemma, a Hugging Face id, or a local folder."),
    "revision": FieldLabel("Revision", "Branch, tag or commit on the hub; empty takes the newest."),
    "dtype": FieldLabel("Number format", "auto: bfloat16 where the hardware multiplies it, else float32."),
    "rounds": FieldLabel("Rounds", "Each captures, writes and trains again, from the merged model before it."),
    "drift": FieldLabel("Measure the drift", "Capture once more on every trained model."),
    "review": FieldLabel("Wait for my review", "Pause when the corpora are written, so that rows can be rejected."),
    "seed": FieldLabel("Seed", "Of the corpus' noise and of the random subspace."),
}
_FORM = FilledForm(session.RECIPE_BASE, session.RECIPE_FORM, session.RECIPE_WIDGETS)
_IN_A_COLUMN = 4
"""Lines on arms beside which no second column is begun: the button stays on the screen of a laptop."""
_ARMS_ASK: Mapping[ArmName, str] = {
    "psr": "writes freely. Is training on its own text enough?",
    "ssd": "writes without unlikely tokens. Is the sampling enough?",
    "apple": "the same, hotter. Is the sampling enough?",
    "spd": "writes inside the capability subspace. The method.",
    "random": "writes inside a random subspace. Would any subspace do?",
    "full": "writes inside the subspace of the whole answer. Does it matter which tokens count?",
    "shuffled": "writes inside the subspace of shuffled answers. Do the right answers matter?",
    "contrast": "writes inside what is the capability's alone. Does it help to leave out what others share?",
    "on-policy": "writes freely in training, and is drawn towards the projected self's probabilities.",
    "omniopd": "writes freely in training; chunks that the projected self would write, too, are strengthened.",
    "omniopd-raw": "the same, with the untouched model as the teacher. Would any teacher do?",
    "omniopd-random": "the same, projected into a random subspace. Would any subspace do?",
    "omniopd-model": "the same, with another model as the teacher. Does one that knows more teach more?",
}


def load_recipe(recipe: Recipe) -> None:
    """Fill the form: from a preset, a file, or an earlier run."""
    _FORM.fill(recipe)


def fill_recipe(settings: Any) -> None:
    """Fill the form with what a file says; `InputError` where that is no recipe."""
    load_recipe(recipe_from(settings))


@dataclass(frozen=True)
class FilledRecipe:
    """What the form says.

    Attributes:
        recipe: None, with the reason on the page, while a setting is senseless.
        start: where the cost and the button go: before all that is folded away.
    """

    recipe: Recipe | None
    title: str
    launcher: str
    start: "DeltaGenerator"


def pick_recipe() -> FilledRecipe:
    """The form: what most people choose, room for the button, and every setting folded away."""
    if _FORM.settings is None:
        load_recipe(recipe_from({"preset": "quick", "capability": "arithmetic"}))
    base = _FORM.settings or {}
    capability, presets = _pick_first(base)
    arms = _pick_arms(base)
    without = pick_without(base["capture"], capability, _FORM.key("without")) if "contrast" in arms else []
    start = st.container()
    with st.expander("All settings", icon=":material/tune:", key=session.RECIPE_OPEN, on_change="rerun"):
        tabs = st.tabs(["Capture", "Corpus", "Training", "On its own text", "Model and run"])
        chosen: dict[str, Any] = {"capability": capability, "arms": arms}
        for tab, (name, kind, labels) in zip(tabs, SETTING_GROUPS, strict=False):
            with tab:
                chosen[name] = setting_widgets(kind, labels, base[name], _FORM.key(name))
                if name == "corpus":
                    chosen[name]["writer"] = pick_writer(base[name]["writer"], _FORM.key("writer"), "arm")
        chosen["capture"]["without"] = without
        with tabs[3]:
            chosen |= own_text_widgets(base, _FORM.key)
        with tabs[4]:
            chosen |= setting_widgets(Recipe, _RUN, base, _FORM.key("run"))
            title, launcher = _pick_run()
    recipe: Recipe | None = None
    with start:
        try:
            recipe = recipe_from(chosen) if arms else None
        except InputError as error:
            failure("This cannot be run:", str(error))
        if recipe is not None:
            _say_what_is_not_published(recipe)
        if not arms:
            failure("No arm is chosen:", "choose at least one")
    with presets:
        _pick_preset(recipe)
    return FilledRecipe(recipe, title, launcher, start)


def _pick_first(base: Mapping[str, Any]) -> "tuple[str, DeltaGenerator]":
    """The capability, and where the presets go."""
    left, right = st.columns((1, 2), gap="medium")
    known = list(dict.fromkeys((*builtin_names(), *saved_capabilities(), *PUBLIC_SETS, base["capability"])))
    capability = left.selectbox(
        "Capability",
        known,
        known.index(base["capability"]),
        key=_FORM.key("capability"),
        persist_state="session",
        help="What the model is to get better at. Built in, your own (import them on Home), or a public data set.",
    )
    return capability or base["capability"], right.container()


def _pick_arms(base: Mapping[str, Any]) -> list[ArmName]:
    """The arms, and what each writes and asks."""
    from_corpora = _pills("Arms: each writes on the same prompts, and is trained on what it wrote", True, base)
    in_training = _pills("Arms that learn on what they write in training", False, base)
    arms = [*from_corpora, *in_training]
    said = [f"**{ARMS[arm].label}**: {_ARMS_ASK[arm]}" for arm in arms]
    half = len(said) if len(said) <= _IN_A_COLUMN else math.ceil(len(said) / 2)
    columns = [part for part in (said[:half], said[half:]) if part]
    for place, lines in zip(st.columns(max(len(columns), 1), gap="medium"), columns, strict=False):
        with place:
            caption("  \n".join(lines))
    return arms


def _pills(label: str, writes: bool, base: Mapping[str, Any]) -> list[ArmName]:
    """Choose of the arms that write before they are trained, or of the others."""
    options = [arm for arm in ARMS if Recipe.writes(arm) == writes]
    return st.pills(
        label,
        options,
        selection_mode="multi",
        default=[arm for arm in base["arms"] if arm in options],
        key=_FORM.key("arms" if writes else "arms_in_training"),
        persist_state="session",
        format_func=short_name,
        help="All with the same noise and the same settings, so that nothing but the way of writing differs."
        if writes
        else "The same prompts again and again: the student writes anew at every step, and a teacher looks at it.",
    )


def _say_what_is_not_published(recipe: Recipe) -> None:
    """Beside OmniOPD's arms: which settings are not the paper's, and what that did there."""
    others = away_from_the_paper(recipe.omniopd)
    if others and any(ARMS[arm].method == "omniopd" for arm in recipe.arms):
        caption(f"OmniOPD is not set as published: {', '.join(others)}. In brackets: the paper's, which had 69.08.")


def _pick_run() -> tuple[str, str]:
    """What the run is called, and what starts its process."""
    left, right, _ = st.columns(3, gap="medium")
    title = left.text_input("Title", key=session.RUN_TITLE, persist_state="session", placeholder="its capability")
    launcher = right.text_input(
        "Launcher",
        "local",
        key=session.LAUNCHER,
        persist_state="session",
        help="local, or a command that starts it and stays until it ends: accelerate launch --num_processes 2, "
        "srun --gres=gpu:1.",
    )
    return title or "", (launcher or "").strip()


# --- presets -----------------------------------------------------------------------------------------------------


def _pick_preset(recipe: Recipe | None) -> None:
    """Presets with what they do and how long that takes; drawn after the settings: which one these are is shown."""
    made = {name: _preset(name, recipe) for name in PRESETS} if recipe is not None else {}
    key = _FORM.key("preset")
    st.session_state[key] = next((name for name, found in made.items() if found == recipe), None)
    st.radio(
        "Preset" if st.session_state[key] or recipe is None else "Preset (these settings are your own)",
        tuple(PRESETS),
        index=None,
        captions=[_preset_in_words(name, made.get(name)) for name in PRESETS],
        key=key,
        on_change=_take_preset,
        args=(key, recipe),
    )


def _preset_in_words(name: PresetName, recipe: Recipe | None) -> str:
    """`A first look: 48 prompts, 2 epochs; at most 5 min`."""
    if recipe is None:
        return PRESETS_DO[name]
    prompts = counted(recipe.corpus.prompts, "prompt") if recipe.corpus.prompts else "all prompts"
    facts = f"{prompts}, {counted(recipe.train.epochs, 'epoch')}"
    seconds = cost.seconds_of(recipe)
    time = f"; at most {duration(seconds)}" if seconds is not None else ""
    return f"{PRESETS_DO[name]}: {facts}{time}"


def _preset(name: str, recipe: Recipe) -> Recipe:
    """A preset for the same capability, model, arms, what a contrast leaves out, writer and teacher."""
    kept = {what: getattr(recipe, what) for what in ("capability", "model", "revision", "dtype", "arms")}
    writer = recipe.corpus.writer.model_dump(mode="json")
    capture = {"without": list(recipe.capture.without)}
    teacher = recipe.omniopd.model_dump(mode="json", include={"teacher", "server"})
    return recipe_from({"preset": name, **kept, "capture": capture, "corpus": {"writer": writer}, "omniopd": teacher})


def _take_preset(key: str, recipe: Recipe | None) -> None:
    """Of the radio that was drawn: a click may come when the form has been filled anew, and its keys are others."""
    name = st.session_state.get(key)
    if name and recipe is not None:
        load_recipe(_preset(name, recipe))
