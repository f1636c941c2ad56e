"""The way from a thing to the page that shows it. For callbacks: the header of the next run goes there."""

import streamlit as st

from app.runs.panel import choose_run
from app.ui import session
from spd_core.evaluation.repeats import cell_id, find_repeat, read_repeat
from spd_core.generation.comparison import load_comparison
from spd_core.library.things import Ref


def opens(ref: Ref) -> bool:
    """Whether a page shows things of this kind by themselves."""
    return ref.kind != "answers"


def open_thing(ref: Ref) -> None:
    """Have a thing open on its page, and go there."""
    state = st.session_state
    run = ref.name.partition("/")[0]
    if ref.kind == "capture":
        session.take_in_hand(ref.name)
        state[session.GO_TO] = session.SPECTRUM
    elif ref.kind in ("text", "repeat"):
        written, capture = _text(ref)
        if capture:
            session.take_in_hand(capture)
        state[session.WRITTEN] = written
        for key in (session.PLACE, session.CELL, session.TEXT_TROUBLE, session.FILLED):
            state.pop(key, None)
        state[session.GO_TO] = session.SIDE_BY_SIDE
    elif ref.kind == "evaluation":
        choose_run(ref.name, session.EVALUATION_RUN)
        session.turn_to(session.EVALUATIONS_VIEW, session.THIS_EVALUATION)
        state[session.GO_TO] = session.EVALUATION
    elif ref.kind in ("run", "adapter"):
        choose_run(run, session.RUN)
        session.turn_to(session.RUNS_VIEW, session.THIS_RUN)
        state[session.GO_TO] = session.FINE_TUNE
    elif ref.kind == "capability":
        state[session.CAPABILITY] = ref.name
        state[session.GO_TO] = session.HOME


def _text(ref: Ref) -> tuple[str, str]:
    """What a link calls a text, and its capture where that is here; the first of a repeat."""
    found = load_comparison(ref.name) if ref.kind == "text" else read_repeat(find_repeat(ref.name))
    written = ref.name if ref.kind == "text" else cell_id(ref.name, 0, 0)
    return written, found.analysis if found.analysis in session.analysis_names() else ""
