"""One prompt and seed of a repeat, read right below the matrix where it was chosen; the form above stays as it is."""

import streamlit as st

from app.side_by_side import history
from app.side_by_side.results import lane_cards
from app.ui import session
from app.ui.widgets import caption, escaped
from spd_core.evaluation.repeats import Repeat, cell_id, cell_of
from spd_core.text import opening, shown


def chosen_place(found: Repeat) -> tuple[int, int] | None:
    """The prompt and the seed that are read, counted from 0; None before one was chosen."""
    cell = cell_of(st.session_state.get(session.REPEAT_CELL) or "")
    if cell is None or cell[0] != found.id:
        return None
    return cell[1:] if cell[1] < len(found.prompts) and cell[2] < len(found.seeds) else None


def choose_text(cell: str) -> None:
    """Read this one from now on; none for an empty name."""
    st.session_state[session.REPEAT_CELL] = cell


def _choose(found: Repeat, place: tuple[int, int] | None) -> None:
    choose_text("" if place is None else cell_id(found.id, *place))


def read_text(found: Repeat) -> None:
    """Pick a prompt and a seed, by hand too, and show what each lane wrote."""
    place, state = chosen_place(found), st.session_state
    cells = [(prompt, seed) for prompt in range(len(found.prompts)) for seed in range(len(found.seeds))]
    state[session.REPEAT_CELL_SHOWN] = place
    st.selectbox(
        "Text to read",
        cells,
        key=session.REPEAT_CELL_SHOWN,
        index=None,
        on_change=lambda: _choose(found, state[session.REPEAT_CELL_SHOWN]),
        format_func=lambda cell: f"{opening(found.prompts[cell[0]].prompt, 90)} · seed {found.seeds[cell[1]]}",
        placeholder="Click a mark, or choose here",
    )
    if place is None:
        return
    asked = found.prompts[place[0]]
    if asked.answer and "\n" not in asked.answer:
        caption(f"Correct answer: **{escaped(shown(asked.answer))}**")
    lane_cards(found.comparison(*place), [text.right for text in asked.texts[place[1]]])
    st.button(
        "Open as the result above",
        icon=":material/vertical_align_top:",
        on_click=history.show_cell,
        args=(cell_id(found.id, *place),),
        help="With its prompt and seed in the form; lanes and mix stay as they are.",
    )
