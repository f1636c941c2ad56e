"""The causal check: what removing a direction, or keeping nothing else, does to the loss; run as a job."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.attributions import charts as figures
from app.attributions.asking import latest_result, say_outdated, start_button
from app.attributions.recorded_probes import recorded_probes, recording, say_checks
from app.attributions.token_tables import COLUMNS, readable_table
from app.jobs import probing
from app.jobs.requests import CheckRequest
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
from spd_core.attribution.results import CONTROLS
from spd_core.attribution.verdict import causal_verdict
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    from pandas import DataFrame
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.attribution.results import CausalCheck
    from spd_core.models.families import Site

_SPLITS = {"calibration": "the calibration texts", "heldout": "held-out texts"}
_CHANGES = {"removed": "direction removed", "only it": "only the direction kept"}


def check_panel(analysis: Analysis, site: "Site", at: Selection, top: "DeltaGenerator") -> None:
    """What removing a direction, or keeping nothing else, does to the probabilities of the loss tokens; the sentence
    on it goes to the `top`."""
    st.markdown(
        f"Changes the {site.kind}s of layer {site.layer} at every token: takes the direction out, or leaves nothing "
        "else, and scores each loss token again. Twenty random directions show what *any* direction does."
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
    split = split if split in splits else "calibration"
    label, request = "Run the causal check", CheckRequest(analysis, site, at.direction, split)
    result, probes = latest_result(session.CHECK_JOB), recorded_probes(analysis)
    kept = probes.check(analysis, site, at.direction) if probes is not None and split == "calibration" else None
    if result is not None and result.request.asks_same_as(request):
        _draw_check(result.request, result.found, probing.SEED, f"{result.seconds:.1f} s", top)
        start_button(label, session.CHECK_JOB, request, anew=True)
    elif probes is not None and kept is not None:
        _draw_check(request, kept, probes.settings.seed, recording(probes), top)
        start_button(label, session.CHECK_JOB, request, anew=True)
    else:
        start_button(label, session.CHECK_JOB, request)
        if result is not None:
            say_outdated("The selection")
            _draw_check(result.request, result.found, probing.SEED, f"{result.seconds:.1f} s", st.container())
        else:
            caption("Changes of log-probability appear here, with intervals.")
    if probes is not None and kept is None:
        say_checks(analysis, probes)


def change_rows(check: "CausalCheck") -> list[dict[str, Any]]:
    """What the figure draws, a row for each change: see `charts.change_panels`."""
    return [_row(check, change, name) for change, name in _CHANGES.items()]


def _row(check: "CausalCheck", change: str, name: str) -> dict[str, Any]:
    mean, low, high = check.mean(change)
    least, most = check.band(change)
    random = check.random_means(CONTROLS[change]).tolist()
    return {"name": name, "mean": mean, "low": low, "high": high, "least": least, "most": most, "random": random}


def _draw_check(made: CheckRequest, check: "CausalCheck", seed: int, how: str, top: "DeltaGenerator") -> None:
    """What was found, and below it the seed of the random directions and `how` it came about."""
    title = direction_title(made.analysis, made.site, made.direction)
    rows = change_rows(check)
    with top:
        draw_verdict(causal_verdict(check, f"direction {made.direction + 1}"))
    st.subheader(escaped(f"Causal check of {title}"), anchor=False)
    changes = "; ".join(f"{row['name']} {row['mean']:+.3g} nats" for row in rows)
    chart(figures.change_panels(rows, dark=is_dark()), key="chart_check", alt=f"Mean change of log p: {changes}.")
    st.markdown(
        "**How to read this:** the dot is this direction, its bar the 95% interval over texts; each tick is a random "
        "direction, and the grey band reaches as far as they do. **A change counts only where the whole bar lies "
        "outside the band.** Each panel has its own scale."
    )
    table = check.table()
    _twins(rows, table)
    download("All values as CSV", lambda: to_csv(table), "causal-check.csv")
    stopped = len(check.examples) < check.requested
    provenance(
        made.analysis,
        f"causal check of {title}, on {_SPLITS[made.split]}",
        f"{'stopped at ' if stopped else ''}{len(check.examples)} of {counted(check.requested, 'text')}",
        counted(len(table), "loss token"),
        "95% bootstrap interval over texts",
        f"{counted(len(rows[0]['random']), 'random direction')} from seed {seed}",
        how,
    )


def _twins(rows: "list[dict[str, Any]]", table: "DataFrame") -> None:
    """What the figure draws, and what is behind it, as tables."""
    import pandas as pd

    with st.expander("The numbers as a table"):
        st.dataframe(
            pd.DataFrame(rows).drop(columns="random"),
            hide_index=True,
            alt="The causal check as a table",
            column_config={
                "name": "Change",
                **{
                    name: st.column_config.NumberColumn(label, format="%.4g", help="Nats")
                    for name, label in (
                        ("mean", "Mean Δ log p"),
                        ("low", "95% from"),
                        ("high", "to"),
                        ("least", "Band of random ones from"),
                        ("most", "to"),
                    )
                },
            },
        )
    with st.expander(f"Every loss token ({len(table)})"):
        st.dataframe(
            readable_table(table),
            hide_index=True,
            height=320,
            alt="Every token",
            column_config={name: COLUMNS[name] for name in ("text", "id", "position")},
        )
