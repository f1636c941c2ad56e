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
from app.ui.widgets import (
    caption,
    chart,
    counted,
    downloads,
    escaped,
    is_dark,
    provenance,
)
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    from spd_core.attribution.results import Lens
    from spd_core.models.families import Site


def lens_panel(analysis: Analysis, site: "Site", at: Selection) -> None:
    """Which tokens a value direction promotes and suppresses."""
    if site.kind == "key":
        st.info(
            "Keys decide which tokens are looked at; they write nothing, so there is no logit lens of a key direction."
        )
        st.button(f"Show the values of layer {site.layer}", on_click=session.select, kwargs={"kind": "value"})
        return
    st.markdown(
        "What the direction would have the model say: the tokens that it makes more and less probable, found by "
        "following it through the attention's output projection, the final norm and the unembedding (the map from "
        "states to tokens). **Approximate:** it assumes that every query "
        "head looks at one token alone, and that later layers pass everything on."
    )
    start_button(f"Compute the lens of layer {site.layer}", session.LENS_JOB, LensRequest(analysis, site, at.direction))
    result, probes = latest_result(session.LENS_JOB), recorded_probes(analysis)
    kept = None if probes is None else probes.lens(site, at.direction)
    if result is not None and _is_of(result, analysis, site, at.direction):
        _draw_live(result, at.direction)
    elif probes is not None and kept is not None:
        title = direction_title(analysis, site, at.direction)
        _draw_lens(kept, title)
        provenance(analysis, f"logit lens of {title}", recording(probes))
    elif result is not None:
        say_outdated("The selection")
        _draw_live(result, result.request.first)
    else:
        caption("All directions of the layer are computed, so that you can step through them.")
    if probes is not None and kept is None:
        say_lenses(analysis, probes)


def _is_of(result: "Probed[LensRequest, Any]", analysis: Analysis, site: "Site", direction: int) -> bool:
    made = result.request
    return same_capture(made.analysis, analysis) and made.site == site and direction in result.found


def _draw_live(result: "Probed[LensRequest, Any]", direction: int) -> None:
    """A lens that this session has computed."""
    made = result.request
    title = direction_title(made.analysis, made.site, direction)
    _draw_lens(result.found[direction], title)
    provenance(
        made.analysis,
        f"logit lens of {title}",
        f"{counted(len(result.found), 'direction')} in {result.seconds:.1f} s",
    )


def _draw_lens(found: "Lens", title: str) -> None:
    import pandas as pd

    tokens = [*found.promoted, *found.suppressed[::-1]]
    table = pd.DataFrame([(t.text, t.score, t.id) for t in tokens], columns=["text", "score", "id"])
    left, right = st.columns((3, 2), gap="medium")
    figure = figures.lens_bars(tokens, dark=is_dark())
    with left:
        st.subheader(escaped(f"Logit lens of {title}"), anchor=False)
        chart(figure, key="chart_lens", alt=f"Promoted and suppressed tokens of {title}.")
    with right:
        score = st.column_config.NumberColumn("Score, logits", format="%.3g")
        st.dataframe(
            readable_table(table),
            hide_index=True,
            height=figure.layout.height,
            alt="The logit lens as a table",
            column_config=COLUMNS | {"score": score},
        )
    st.markdown(
        "**How to read this:** adding the direction to a value pushes the model towards the orange tokens and away "
        "from the blue ones; subtracting it does the opposite. Compare scores within one lens only."
    )
    downloads("logit-lens", lambda: to_csv(table), lambda: [figures.lens_bars(tokens)], f"Logit lens of {title}")
