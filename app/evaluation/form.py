"""The form of an evaluation: presets, subjects, sets, settings. What they mean is in `recipes/evaluation.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.evaluation.sets import LIMIT, known_names, pick_lengths, pick_sets, read_facts
from app.evaluation.subjects import choice_of, pick_subjects
from app.runs.form import SETTING_GROUPS, FieldLabel, FilledForm, own_text_widgets, pick_without, setting_widgets
from app.runs.writer import pick_writer
from app.ui import session
from app.ui.widgets import failure
from spd_core.data.capability import builtin_names
from spd_core.errors import InputError
from spd_core.evaluation.progress import in_short
from spd_core.evaluation.set_facts import SetFacts
from spd_core.recipes.evaluation import NAMED, EvaluationRecipe, evaluation_from
from spd_core.recipes.sets import EvalSet
from spd_core.sandbox.run import code_allowed

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_RUN = {
    "revision": FieldLabel("Revision", "Branch, tag or commit on the hub; empty takes the newest."),
    "dtype": FieldLabel("Number format", "auto: bfloat16 where the hardware multiplies it, else float32."),
    "prompt_style": FieldLabel("Prompt format", "raw: each set's template; chat: the model's chat template."),
    "batch_size": FieldLabel("Items at once", "Speed and memory."),
    "rounds": FieldLabel("Rounds of training", "Of the arms: each captures, writes and trains again."),
}
_FORM = FilledForm(session.EVALUATION_BASE, session.EVALUATION_FORM, session.EVALUATION_WIDGETS)
_CONTROLLED = ("base", "projected", "projected-random", "projected-full", "projected-shuffled")
_PAPER = ("base", "projected", "psr", "ssd", "spd", "random", "full", "shuffled")


def _quick_look(capability: str) -> dict[str, Any]:
    return {"subjects": ("base", "projected", "projected-random"), "sets": (capability,)}


def _subspace(capability: str) -> dict[str, Any]:
    return {"subjects": _CONTROLLED, "sets": (capability, *builtin_names())}


def _table(capability: str) -> dict[str, Any]:
    return {"subjects": _PAPER, "sets": (capability, *builtin_names())}


_PRESETS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "Quick look": _quick_look,
    "Was it the subspace?": _subspace,
    "Arms × sets": _table,
}
_QUESTIONS = {
    "Quick look": "Does projecting while it answers change anything?",
    "Was it the subspace?": "Is it the capability's own subspace, or does any do?",
    "Arms × sets": "Does training on what it wrote help?",
}


@dataclass(frozen=True)
class Chosen:
    """What the form says.

    Attributes:
        facts: of its sets, by their names; of those alone that can be read.
    """

    recipe: EvaluationRecipe
    facts: Mapping[str, SetFacts]


def load_evaluation(recipe: EvaluationRecipe) -> None:
    """Fill the form: from a preset, a file, or an earlier evaluation."""
    _FORM.fill(recipe)
    st.session_state.pop(session.WITHOUT_CONTROLS, None)  # of what filled it before


def fill_evaluation(settings: Any) -> None:
    """Fill the form with what a file says; `InputError` where that is no evaluation."""
    load_evaluation(evaluation_from(settings))


def preset(
    name: str, capability: str, model: str = "builtin", writers: Mapping[str, Any] | None = None
) -> EvaluationRecipe:
    """A preset for a capability, a model and who writes, with the settings of the quick distillation."""
    made = _PRESETS[name](capability)
    sets = [{"capability": one, "limit": LIMIT} for one in dict.fromkeys(made["sets"])]
    subjects = [NAMED[one].model_dump(mode="json") for one in made["subjects"]]
    first = {"capability": capability, "model": model, "subjects": subjects, "sets": sets}
    return evaluation_from({"preset": "quick", **first, **(writers or {})})


def _writers_of(recipe: EvaluationRecipe) -> dict[str, Any]:
    """Who answers, and who writes the corpora of arms: no preset says."""
    answers, corpora = (one.model_dump(mode="json") for one in (recipe.writer, recipe.corpus.writer))
    return {"writer": answers, "corpus": {"writer": corpora}}


def take_proposed() -> bool:
    """Fill the form with the evaluation that another page has proposed; false where none has."""
    state = st.session_state
    proposed, without = state.pop(session.EVALUATION_PROPOSED, None), state.get(session.WITHOUT_CONTROLS)
    if proposed is not None:
        fill_evaluation(proposed)
        state[session.WITHOUT_CONTROLS] = without
    return proposed is not None


def pick_evaluation(above: "DeltaGenerator", price: Callable[[EvaluationRecipe], str]) -> Chosen | None:
    """The form; None, with the reason on the page, while a setting is senseless.

    Args:
        above: where presets are drawn, and what has to be allowed: before everything that they settle.
        price: what an evaluation costs, in short.
    """
    if _FORM.settings is None:
        load_evaluation(preset("Quick look", "arithmetic"))
    before = EvaluationRecipe.model_validate(_FORM.settings)
    presets, code = above.container(), above.container()
    capability, model = _pick_first(before)
    subjects = pick_subjects(choice_of(before.subjects), model, _FORM.key("subject"))
    contrasts = any(one.arm == "contrast" or (one.kind == "projected" and one.of == "contrast") for one in subjects)
    capture = before.capture.model_dump(mode="json")
    without = pick_without(capture, capability, _FORM.key("without")) if contrasts else []
    sets = pick_sets(before.sets, capability, _FORM.key("of"))
    facts = read_facts(sets)
    with code:
        allowed = _pick_code(facts, before.allow_code)
    chosen: dict[str, Any] = {
        "capability": capability,
        "model": model,
        "allow_code": allowed,
        "subjects": [one.model_dump(mode="json") for one in subjects],
        **_pick_settings(before, sets, facts),
    }
    chosen["capture"]["without"] = without
    try:
        recipe = evaluation_from(chosen)
    except InputError as error:
        with above:
            failure("This cannot be run:", str(error))
        recipe = None
    with presets:
        _pick_preset(recipe, capability, model, _writers_of(recipe or before), price)
    return Chosen(recipe, facts) if recipe is not None else None


def _pick_first(before: EvaluationRecipe) -> tuple[str, str]:
    """The in-domain capability and the model."""
    left, right = st.columns(2, gap="medium")
    known = list(dict.fromkeys((*known_names(), before.capability)))
    capability = left.selectbox(
        "In-domain capability",
        known,
        known.index(before.capability),
        key=_FORM.key("capability"),
        persist_state="session",
        accept_new_options=True,
        help="What subspaces are captured from and arms are trained "
        "for: built in, your own, a public data set, or the path of a capability file.",
    )
    model = right.text_input(
        "Model",
        before.model,
        key=_FORM.key("model"),
        persist_state="session",
        help="builtin, gemma, a Hugging Face id, or a local folder.",
    )
    return (capability or "").strip() or before.capability, (model or "").strip() or "builtin"


def _pick_code(facts: Mapping[str, SetFacts], before: bool) -> bool:
    """The switch that lets code run which a model has written, where a set needs it."""
    if all(one.scorer != "python" for one in facts.values()) or code_allowed():
        return before
    allowed = st.toggle(
        "Allow code that a model has written to be run", before, key=_FORM.key("code"), persist_state="session"
    )
    if allowed:
        st.warning(
            "The tests run what the model writes. It is isolated: a process without network, which can write nothing "
            "and start nothing, limited in time and memory. Still, it is code that nobody has read.",
            icon=":material/shield:",
        )
    return bool(allowed)


def _pick_settings(
    before: EvaluationRecipe, sets: tuple[EvalSet, ...], facts: Mapping[str, SetFacts]
) -> dict[str, Any]:
    """All that presets settle, folded away."""
    base = before.model_dump(mode="json")
    chosen: dict[str, Any] = {}
    with st.expander("All settings", icon=":material/tune:", key=session.EVALUATION_OPEN, on_change="rerun"):
        tabs = st.tabs(
            ["Answers and model", "Capture", "Corpus of the arms", "Training of the arms", "On its own text"]
        )
        with tabs[0]:
            seeds = st.columns(3, gap="medium")[0].text_input(
                "Seeds",
                ", ".join(map(str, before.seeds)),
                key=_FORM.key("seeds"),
                persist_state="session",
                help="Such as 42, 43: arms and drawn controls are made once for each, and scores pooled by item.",
            )
            chosen |= setting_widgets(EvaluationRecipe, _RUN, base, _FORM.key("run"))
            lengths = pick_lengths(sets, facts, _FORM.key("of"))
            chosen["writer"] = pick_writer(base["writer"], _FORM.key("writer"), "subject")
        for tab, (name, kind, labels) in zip(tabs[1:4], SETTING_GROUPS, strict=True):
            with tab:
                chosen[name] = setting_widgets(kind, labels, base[name], _FORM.key(name))
                if name == "corpus":
                    chosen[name]["writer"] = pick_writer(base[name]["writer"], _FORM.key("corpus_writer"), "arm")
        with tabs[4]:
            chosen |= own_text_widgets(base, _FORM.key)
    return {**chosen, "seeds": _numbers(seeds or ""), "sets": [one.model_dump(mode="json") for one in lengths]}


def _numbers(text: str) -> list[int | str]:
    """`42, 43` as numbers; what is none stays as it is, and is refused with its value."""
    words = text.replace(",", " ").split()
    return [int(word) if word.isascii() and word.isdigit() and len(word) < 19 else word for word in words]


# --- presets -----------------------------------------------------------------------------------------------------


def _pick_preset(
    recipe: EvaluationRecipe | None,
    capability: str,
    model: str,
    writers: Mapping[str, Any],
    price: Callable[[EvaluationRecipe], str],
) -> None:
    """Presets by their question, with what each costs; drawn after the settings: which one these amount to is shown."""
    plain_recipe = recipe.model_copy(update={"allow_code": False}) if recipe is not None else None
    made = {name: _fits(name, capability, model, writers) for name in _PRESETS}
    fitting = (name for name, one in made.items() if one == plain_recipe and one is not None)
    key = _FORM.key("preset")
    st.session_state[key] = next(fitting, None)
    st.radio(
        "Preset",
        tuple(_PRESETS),
        key=key,
        on_change=_take_preset,
        args=(key, capability, model, writers),
        captions=[_in_short(name, one, price) for name, one in made.items()],
        horizontal=True,
        help="Each fills the form below, where everything can be changed.",
    )


def _in_short(name: str, recipe: EvaluationRecipe | None, price: Callable[[EvaluationRecipe], str]) -> str:
    """The question that a preset answers, what it is made of, and what it costs."""
    if recipe is None:
        return f"{_QUESTIONS[name]} Not for this capability and model."
    return f"{_QUESTIONS[name]}  \n**{price(recipe)}** · {in_short(recipe)}"


def _fits(name: str, capability: str, model: str, writers: Mapping[str, Any]) -> EvaluationRecipe | None:
    """A preset as it would be; None where the capability or the model has no such."""
    try:
        return preset(name, capability, model, writers)
    except InputError:
        return None


def _take_preset(key: str, capability: str, model: str, writers: Mapping[str, Any]) -> None:
    """Of the radio that was drawn: a click may come when the form has been filled anew, and its keys are others."""
    name = st.session_state.get(key)
    made = _fits(name, capability, model, writers) if name else None
    if made is not None:
        load_evaluation(made)
