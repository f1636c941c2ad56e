"""The causal check: what removing a direction, or keeping nothing else, does to the loss; run as a job."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.attributions import charts as figures
from app.attributions.asking import latest_result, say_outdated, start_button
from app.attributions.calibration_texts import (
    COLUMNS,
    readable_table,
)
from app.jobs import probing
from app.jobs.probing import Probed
from app.jobs.requests import CheckRequest
from app.ui import session
from app.ui.session import Selection
from app.ui.tables import to_csv
from app.ui.widgets import (
    caption,
    chart,
    counted,
    downloads,
    is_dark,
    provenance,
)
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    from spd_core.models.families import Site

_SPLITS = {"calibration": "the calibration texts", "heldout": "held-out texts"}
_CHANGES = {
    "removed": "this direction removed",
    "random removed": "a random one removed",
    "only it": "only this direction kept",
    "only random": "only a random one kept",
}


def check_panel(analysis: Analysis, site: "Site", at: Selection) -> None:
    """What removing a direction, or keeping nothing else, does to the probabilities of tokens under the loss."""
    st.markdown(
        f"Changes the {site.kind}s of layer {site.layer} at every token: takes the direction out, or leaves nothing "
        "else, and scores each token under the loss again. A random direction shows what *any* direction does."
    )
    splits = ["calibration", *(["heldout"] if analysis.capability.split("heldout").examples else [])]
    split = st.segmented_control(
        "Scored on",
        splits,
        default="calibration",
        format_func=_SPLITS.__getitem__,
        key=session.SCORED,
        required=True,
        persist_state="session",
        help="The direction was fitted on the calibration texts; held-out ones are a fairer test.",
    )
    request = CheckRequest(analysis, site, at.direction, split if split in splits else "calibration")
    start_button("Run the causal check", session.CHECK_JOB, request)
    result = latest_result(session.CHECK_JOB)
    if result is None:
        caption("Changes of log-probability appear here, with intervals.")
        return
    if not result.request.asks_same_as(request):
        say_outdated("The selection")
    _draw_check(result)


def _draw_check(result: "Probed[CheckRequest, Any]") -> None:
    import pandas as pd

    made, check = result.request, result.found
    rows = [
        dict(zip(("name", "mean", "low", "high"), (name, *check.mean(change)), strict=True), random="random" in name)
        for change, name in _CHANGES.items()
    ]
    title = f"{made.site.label}, direction {made.direction + 1}"
    st.subheader(f"Causal check of {title}", anchor=False)
    left, right = st.columns((3, 2), gap="medium")
    changes = "; ".join(f"{row['name']} {row['mean']:+.3g} nats" for row in rows)
    with left:
        chart(figures.change_bars(rows, dark=is_dark()), key="chart_check", alt=f"Mean change of log p: {changes}.")
    right.dataframe(
        pd.DataFrame(rows).drop(columns="random"),
        hide_index=True,
        alt="The causal check as a table",
        column_config={
            "name": "Change",
            **{
                name: st.column_config.NumberColumn(label, format="%.4g", help="Nats")
                for name, label in (("mean", "Mean Δ log p"), ("low", "95 % from"), ("high", "to"))
            },
        },
    )
    st.markdown(
        "**How to read this:** left of 0 the change makes the tokens under the loss less probable. If the direction "
        "matters by itself, its dot lies further from 0 than the open ring of the random one, and the intervals do "
        "not meet."
    )
    table = check.table()
    with st.expander(f"Every token under the loss ({len(table)})"):
        st.dataframe(
            readable_table(table),
            hide_index=True,
            height=320,
            alt="Every token",
            column_config={name: COLUMNS[name] for name in ("text", "id", "position")},
        )
    downloads("causal-check", lambda: to_csv(table), lambda: [figures.change_bars(rows)], f"Causal check of {title}")
    stopped = len(check.examples) < check.requested
    provenance(
        made.analysis,
        f"causal check of {title}, on {_SPLITS[made.split]}",
        f"{'stopped at ' if stopped else ''}{len(check.examples)} of {counted(check.requested, 'text')}, "
        f"{counted(len(table), 'token')} under the loss",
        f"95 % bootstrap interval over texts, one random direction (seed {probing.SEED})",
        f"{result.seconds:.1f} s",
    )
