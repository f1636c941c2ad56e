"""Whom an evaluation asks: widgets, and the subjects that they stand for. What subjects mean is in the engine."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from app.runs.adapters import adapter_label
from app.ui import header
from app.ui.widgets import caption, distinct_labels
from spd_core.errors import InputError
from spd_core.intervention.cards import finished_adapters
from spd_core.recipes.distill import ARMS, ArmName, short_name
from spd_core.recipes.evaluation import CONTROLS, NAMED, Subject
from spd_core.storage import spd_home
from spd_core.subspace.store import RECORD, find_capture, recorded_captures, saved_captures

PROJECTED = {
    "projected": "Capability subspace",
    "projected-random": "Random subspace",
    "projected-full": "Full-loss subspace",
    "projected-shuffled": "Shuffled answers",
    "projected-contrast": "Contrast subspace",
    "complement": "Complement",
}
_WHY = {
    **CONTROLS["projected"],
    "projected-contrast": CONTROLS["projected-contrast"]["projected"],
    "complement": "what is left without the subspace?",
}


@dataclass(frozen=True)
class Choice:
    """What the widgets say.

    Attributes:
        projected: names in `NAMED`, of those that are projected into a subspace captured for this evaluation.
        captures: saved captures, each projected into at `rank` and `strength`; `control`: each beside a random one.
        adapters: `RUN/ARM`.
        checkpoints: folders or ids.
        others: subjects that a file has named and that no widget makes.
    """

    projected: tuple[str, ...] = ()
    arms: tuple[ArmName, ...] = ()
    adapters: tuple[str, ...] = ()
    captures: tuple[str, ...] = ()
    rank: str = "half"
    strength: float = 1.0
    control: bool = True
    checkpoints: tuple[str, ...] = ()
    others: tuple[Subject, ...] = ()


def subjects_of(choice: Choice) -> tuple[Subject, ...]:
    """The subjects, the base first, in one order however they were chosen."""
    base = () if any(other.kind == "base" for other in choice.others) else (NAMED["base"],)
    captured = (pair for name in choice.captures for pair in _of_capture(name, choice))
    return (
        *base,
        *choice.others,
        *(NAMED[name] for name in PROJECTED if name in choice.projected),
        *captured,
        *(Subject(kind="distilled", adapter=ref) for ref in choice.adapters),
        *(NAMED[arm] for arm in ARMS if arm in choice.arms),
        *(Subject(kind="checkpoint", model=model) for model in choice.checkpoints),
    )


def _of_capture(name: str, choice: Choice) -> tuple[Subject, ...]:
    """A subject that is projected into a saved capture, and its control."""
    how = f"rank {choice.rank}, α {choice.strength:g}"
    common = {"kind": "projected", "capture": name, "rank": choice.rank, "strength": choice.strength}
    mine = Subject.model_validate({**common, "label": f"Projected, {header.capture_label(name)}, {how}"})
    control = {**common, "of": "random", "label": f"Random subspace like {header.capture_label(name)}, {how}"}
    return (mine, Subject.model_validate(control)) if choice.control else (mine,)


def choice_of(subjects: Iterable[Subject]) -> Choice:
    """What the widgets have to say so that `subjects_of` gives these subjects."""
    chosen = tuple(subjects)
    names = {subject: name for name, subject in NAMED.items()}
    first = next((one for one in chosen if one.capture and one.of == "capability"), None)
    known = Choice(
        projected=tuple(name for one in chosen if (name := names.get(one, "")) in PROJECTED),
        arms=tuple(one.arm for one in chosen if one.arm is not None and one == NAMED[one.arm]),
        adapters=tuple(one.adapter for one in chosen if one.adapter),
        captures=tuple(dict.fromkeys(one.capture for one in chosen if one.capture and one.of == "capability")),
        rank=(first.rank if first else None) or "half",
        strength=1.0 if first is None or first.strength is None else first.strength,
        control=first is None or any(one.capture and one.of == "random" for one in chosen),
        checkpoints=tuple(one.model for one in chosen if one.model),
    )
    made = set(subjects_of(known))
    if not made <= {*chosen, NAMED["base"]}:  # some of a kind were set otherwise: they are kept as they are
        known = Choice(projected=known.projected, arms=known.arms)
        made = set(subjects_of(known))
    return replace(known, others=tuple(one for one in chosen if one not in made))


# --- widgets -----------------------------------------------------------------------------------------------------


def pick_subjects(base: Choice, model: str, key: str) -> tuple[Subject, ...]:
    """All subjects; `key` begins the widgets' keys."""
    st.markdown("##### Who answers")
    caption("**Base**, the untouched model, always answers: all others are compared with it.")
    projected = st.pills(
        "Projected while it answers",
        tuple(PROJECTED),
        selection_mode="multi",
        default=base.projected,
        format_func=PROJECTED.__getitem__,
        key=f"{key}_projected",
        persist_state="session",
        help="Keys and values are projected while the answer is written; nothing is trained. The subspace is captured "
        "from the capability, the others are its controls.",
    )
    asked = [f"**{PROJECTED[name]}**: {_WHY[name]}" for name in projected if name in _WHY]
    if asked:
        caption(f"What the controls ask. {' '.join(asked)}")
    arms = st.pills(
        "Trained for this evaluation",
        tuple(ARMS),
        selection_mode="multi",
        default=base.arms,
        format_func=short_name,
        key=f"{key}_arms",
        persist_state="session",
        help="Each writes a corpus and is trained on it first, as on Fine-tune; a finished run with the same settings "
        "is taken instead.",
    )
    if arms:
        caption(f"What each isolates: {', '.join(f'**{short_name(arm)}** {ARMS[arm].isolates}' for arm in arms)}.")
        st.warning(
            "Arms are trained first, one after another, before anything is answered: the cost above says how "
            "long that takes.",
            icon=":material/schedule:",
        )
    others = _pick_others(base.others, key)
    ready = _pick_ready(base, model, key)
    return subjects_of(replace(ready, projected=tuple(projected), arms=tuple(arms), others=others))


def _pick_others(others: Sequence[Subject], key: str) -> tuple[Subject, ...]:
    if not others:
        return ()
    known = {one.name: one for one in others}
    chosen = st.pills(
        "With settings of their own",
        tuple(known),
        selection_mode="multi",
        default=tuple(known),
        key=f"{key}_others",
        format_func=lambda name: known[name].title,
        persist_state="session",
        help="From a file or an earlier evaluation; kept as they came.",
    )
    return tuple(known[name] for name in chosen)


def _pick_ready(base: Choice, model: str, key: str) -> Choice:
    """What is there already: adapters, captures, checkpoints."""
    left, middle, right = st.columns(3, gap="medium")
    cards = {card.ref: card for card in finished_adapters() if same_model(card.base, model)}
    refs = tuple(dict.fromkeys((*cards, *base.adapters)))
    adapters = left.multiselect(
        "Trained adapters",
        refs,
        base.adapters,
        key=f"{key}_adapters",
        persist_state="session",
        format_func=distinct_labels(refs, lambda ref: adapter_label(ref, cards.get(ref))),
        placeholder=_none(refs),
        help="Trained on this model on Fine-tune.",
    )
    saved = (name for name in (*saved_captures(), *recorded_captures()) if same_model(_captured_on(name), model))
    names = tuple(dict.fromkeys((*saved, *base.captures)))
    captures = middle.multiselect(
        "Saved captures",
        names,
        base.captures,
        key=f"{key}_captures",
        persist_state="session",
        format_func=distinct_labels(names, header.capture_label),
        placeholder=_none(names),
        help="Projected into while it answers, instead of capturing a new subspace.",
    )
    exports = sorted(str(path.parent) for path in (spd_home() / "exports").glob("[!.]*/config.json"))
    checkpoints = right.multiselect(
        "Folded or merged checkpoints",
        tuple(dict.fromkeys((*exports, *base.checkpoints))),
        base.checkpoints,
        key=f"{key}_checkpoints",
        persist_state="session",
        accept_new_options=True,
        format_func=_folder_label,
        placeholder="Choose, or type a folder",
        help="Folders that export has written, or any checkpoint; each is loaded by itself, and answers as it is.",
    )
    ready = replace(base, adapters=tuple(adapters), captures=tuple(captures), checkpoints=tuple(checkpoints))
    if not captures:
        return ready
    with middle:
        return _pick_projection(ready, key)


def _pick_projection(base: Choice, key: str) -> Choice:
    """How all saved captures are projected into."""
    left, right = st.columns(2)
    rank = left.text_input(
        "Rank",
        base.rank,
        key=f"{key}_rank",
        persist_state="session",
        help="half (of d_kv), energy:0.95, or a number of directions.",
    )
    strength = right.number_input(
        "Strength α", 0.0, 1.0, base.strength, 0.05, key=f"{key}_strength", persist_state="session"
    )
    control = st.toggle(
        "Each beside a random subspace of its ranks", base.control, key=f"{key}_control", persist_state="session"
    )
    return replace(base, rank=(rank or "").strip() or "half", strength=float(strength), control=bool(control))


def _none(names: Sequence[str]) -> str:
    return "Choose" if names else "None for this model yet"


def _folder_label(folder: str) -> str:
    return folder.removeprefix(f"{spd_home() / 'exports'}/")


@st.cache_data(max_entries=500, show_spinner=False)
def _read_model(path: str, stamp: float) -> str:
    record = json.loads(Path(path).read_text("utf-8"))
    return str(record["provenance"]["model"])


def _captured_on(name: str) -> str:
    """The model of a saved capture; empty where that cannot be read."""
    try:
        path = find_capture(name) / RECORD
        return _read_model(str(path), path.stat().st_mtime)
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return ""


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model: folders may be written in two ways."""
    return one == other or (Path(one).is_dir() and Path(one).absolute() == Path(other).expanduser().absolute())
