"""Two to four things of one kind beside each other: captures here, runs and evaluations on their own pages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.ui import session
from app.ui.tables import table_html
from app.ui.widgets import caption, failure
from spd_core.errors import InputError
from spd_core.library.things import Thing

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

MOST = 4
_PAGES = {
    "run": (session.RUNS_COMPARED, session.RUNS_VIEW, "All runs", session.FINE_TUNE),
    "evaluation": (session.EVALUATIONS_COMPARED, session.EVALUATIONS_VIEW, "All evaluations", session.EVALUATION),
}


def button(selected: Sequence[Thing], row: "DeltaGenerator") -> bool:
    """The button; returns whether captures are to be compared here."""
    kinds = {one.ref.kind for one in selected}
    fits = 2 <= len(selected) <= MOST and len(kinds) == 1 and not any(one.problem for one in selected)
    possible = fits and kinds <= {"capture", *_PAGES}
    pressed = row.button(
        "Compare",
        icon=":material/compare_arrows:",
        disabled=not possible,
        help=None if possible else f"Tick two to {MOST} captures, runs or evaluations: all of one kind.",
        on_click=_elsewhere if possible and kinds <= set(_PAGES) else None,
        args=(selected,) if possible and kinds <= set(_PAGES) else (),
    )
    key = f"{session.LIBRARY_LIST}_compared"
    chosen = [one.ref.name for one in selected]
    if pressed and possible:
        st.session_state[key] = chosen
    return possible and kinds == {"capture"} and st.session_state.get(key) == chosen


def _elsewhere(selected: Sequence[Thing]) -> None:
    key, view, part, page = _PAGES[selected[0].ref.kind]
    st.session_state[session.COMPARE_NEXT] = (key, [one.ref.name for one in selected])
    session.turn_to(view, part)
    st.session_state[session.GO_TO] = page


def panel(selected: Sequence[Thing]) -> None:
    """Spectra in numbers, and what the subspaces of each pair share, site by site."""
    from spd_core.library.comparing import compared_captures

    try:
        found = compared_captures([one.ref.name for one in selected])
    except InputError as error:
        failure("These captures cannot be compared:", str(error))
        return
    st.subheader("Captures beside each other", anchor=False)
    st.html(table_html(found.spectra, "Spectra in numbers"))
    if found.shared:
        st.html(table_html(found.shared, "What their subspaces share"))
        caption(
            "Shared: mean cos² of the principal angles at rank ½ d_kv. Chance is what random subspaces of these ranks "
            "share; above the limit, two standard deviations beyond it, is more than chance."
        )
    else:
        caption("They have no site of the same layer, kind and width in common, so their subspaces cannot be compared.")
