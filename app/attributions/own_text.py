"""Coordinates of any text of the user's along a direction; read by the model, as a job."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.attributions.asking import latest_result, say_outdated, start_button
from app.attributions.calibration_texts import LETTER, THREE, chosen_token, how_to_read_coordinates, token_tips
from app.attributions.token_tables import extreme_tokens
from app.jobs.probing import Probed
from app.jobs.requests import ReadRequest, same_capture
from app.ui import session
from app.ui.direction_names import direction_title
from app.ui.session import Selection
from app.ui.tables import to_csv
from app.ui.tokens import Scale, strip_data, token_strip
from app.ui.widgets import (
    caption,
    counted,
    download,
    provenance,
)
from spd_core.attribution.tables import scale_of, tokens_of
from spd_core.subspace.analysis import Analysis
from spd_core.text import signed

if TYPE_CHECKING:
    from spd_core.models.families import Site


def own_text_panel(analysis: Analysis, site: "Site", at: Selection, hide: bool) -> None:
    """Coordinates of a text of the user's."""
    text = (
        st.text_area(
            "Your own text",
            key=session.OWN_TEXT,
            persist_state="session",
            height=90,
            placeholder="Any text: it is read as it stands, and never leaves this machine.",
        )
        or ""
    )
    request = ReadRequest(analysis, text)
    start_button("Read this text", session.READ_JOB, request)
    result = latest_result(session.READ_JOB)
    if result is None:
        caption("Its tokens appear here, each with its coordinate along the direction.")
        return
    made = result.request
    if not same_capture(made.analysis, analysis):
        st.info("Your text was read for another capture; read it again for this one.", icon=":material/edit:")
        return
    if made.text != text:
        say_outdated("Your text")
    _draw_coordinates(result, analysis, site, at, hide)


def _draw_coordinates(result: "Probed[Any, Any]", analysis: Analysis, site: "Site", at: Selection, hide: bool) -> None:
    """The tokens of a text that was read, each with its coordinate along the direction."""
    read, vector = result.found, analysis.sites[site].vectors[:, at.direction]
    rows = tokens_of([read.encoded], read.special_ids).assign(coordinate=read.coordinates(site, vector))
    scale = Scale(
        scale_of((rows[~rows.aside] if hide else rows).coordinate), f"{LETTER[at.kind]}·u, units of activation"
    )
    selected = session.clamped(st.session_state.get(session.OWN_TOKEN), 0, len(rows) - 1)

    def numbers(row: Any) -> list[str]:
        return [f"{LETTER[at.kind]}·u = {signed(row.coordinate, THREE)}"]

    data = strip_data(
        rows,
        "coordinate",
        scale,
        token_tips(rows, numbers),
        label="Coordinates of your text",
        selected=selected,
        hide=hide,
    )
    token_strip(data, key="strip_own", on_pick=lambda token: st.session_state.update({session.OWN_TOKEN: token}))
    chosen_token(rows, selected, numbers)
    how_to_read_coordinates(at)
    extreme_tokens(rows, hide, key=session.OWN_EXTREMES)
    download("Coordinates as CSV", lambda: to_csv(rows), "coordinates.csv")
    provenance(
        analysis, direction_title(analysis, site, at.direction), counted(len(rows), "token"), f"{result.seconds:.1f} s"
    )
