"""The logit lens: which tokens a value direction promotes and suppresses; computed as a job."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.attributions import charts as figures
from app.attributions.asking import latest_result, say_outdated, start_button
from app.attributions.recorded_probes import recorded_probes, recording, say_lenses
from app.attributions.token_tables import COLUMNS, readable_table
from app.jobs.probing import Probed
from app.jobs.requests import LensRequest, same_capture
from app.ui import session
from app.ui.direction_names import direction_title
from app.ui.session import Selection
from app.ui.tables import to_csv
from app.ui.verdict import draw_verdict
from app.ui.widgets import (
    caption,
    chart,
    counted,
    download,
    escaped,
    is_dark,
    provenance,
)
from spd_core.attribution.verdict import lens_verdict
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.attribution.results import Lens
    from spd_core.models.families import Site


_WHAT = (
    "What the direction would have the model say: which tokens it makes more and less probable, found by following it "
    "through the attention's output projection, the final norm and the unembedding (the map from states to tokens). "
    "**Approximate:** it assumes that every query head looks at one token alone, and that later layers pass everything "
    "on."
)


def lens_panel(analysis: Analysis, site: "Site", at: Selection, top: "DeltaGenerator") -> None:
    """Which tokens a value direction promotes and suppresses; the sentence on it goes to the `top`."""
    if site.kind == "key":
        st.info(
            "Keys decide which tokens are looked at; they write nothing, so there is no logit lens of a key direction."
        )
        st.button(f"Show the values of layer {site.layer}", on_click=session.select, kwargs={"kind": "value"})
        return
    label, request = f"Compute the lens of layer {site.layer}", LensRequest(analysis, site, at.direction)
    result, probes = latest_result(session.LENS_JOB), recorded_probes(analysis)
    kept = None if probes is None else probes.lens(site, at.direction)
    if result is not None and _is_of(result, analysis, site, at.direction):
        _draw_live(result, at.direction, top)
        start_button(label, session.LENS_JOB, request, anew=True)
    elif probes is not None and kept is not None:
        title = direction_title(analysis, site, at.direction)
        _draw_lens(kept, title, at.direction, top)
        provenance(analysis, f"logit lens of {title}", recording(probes))
        start_button(label, session.LENS_JOB, request, anew=True)
    else:
        st.markdown(_WHAT)
        start_button(label, session.LENS_JOB, request)
        if result is not None:
            say_outdated("The selection")
            _draw_live(result, result.request.first, st.container())
        else:
            caption("All directions of the layer are computed, so that you can step through them.")
    if probes is not None and kept is None:
        say_lenses(analysis, probes)


def _is_of(result: "Probed[LensRequest, Any]", analysis: Analysis, site: "Site", direction: int) -> bool:
    made = result.request
    return same_capture(made.analysis, analysis) and made.site == site and direction in result.found


def _draw_live(result: "Probed[LensRequest, Any]", direction: int, top: "DeltaGenerator") -> None:
    """A lens that this session has computed."""
    made = result.request
    title = direction_title(made.analysis, made.site, direction)
    _draw_lens(result.found[direction], title, direction, top)
    provenance(
        made.analysis,
        f"logit lens of {title}",
        f"{counted(len(result.found), 'direction')} in {result.seconds:.1f} s",
    )


def _draw_lens(found: "Lens", title: str, direction: int, top: "DeltaGenerator") -> None:
    import pandas as pd

    with top:
        draw_verdict(lens_verdict(found, f"direction {direction + 1}"))
    tokens = [*found.promoted, *found.suppressed[::-1]]
    table = pd.DataFrame([(t.text, t.score, t.id) for t in tokens], columns=["text", "score", "id"])
    st.subheader(escaped(f"Logit lens of {title}"), anchor=False)
    figure = figures.lens_bars(tokens, found.random, dark=is_dark())
    chart(figure, key="chart_lens", alt=f"Promoted and suppressed tokens of {title}.")
    grey = (
        " **Grey** is where the strongest token of a random direction scores: a bar that ends in it or before it is no "
        "more than luck."
        if found.random
        else ""
    )
    st.markdown(
        "**How to read this:** adding the direction to a value pushes the model towards the orange tokens and away "
        f"from the blue ones; subtracting it does the opposite, and which of the two is which is arbitrary.{grey}"
    )
    with st.expander("The numbers as a table"):
        st.dataframe(
            readable_table(table),
            hide_index=True,
            height=320,
            alt="The logit lens as a table",
            column_config=COLUMNS | {"score": st.column_config.NumberColumn("Score, logits", format="%.3g")},
        )
    with st.expander("How it is computed"):
        st.markdown(_WHAT)
    download("All values as CSV", lambda: to_csv(table), "logit-lens.csv")
