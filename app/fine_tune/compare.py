"""Distillations beside each other: the settings that differ, and their losses. Knows not how they are chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.fine_tune import charts
from app.ui import session
from app.ui.tables import table_html, to_csv
from app.ui.widgets import caption, chart, download, is_dark
from spd_core.runs.record import RunRecord
from spd_core.runs.view import RunView


def panel(records: Sequence[RunRecord], views: Mapping[str, RunView]) -> None:
    """The runs of these records; `views` has what each has told, by its name, in the same order."""
    names = tuple(views)
    rows = differing_settings(records, names)
    if rows:
        st.html(table_html(rows, "Settings that differ"))
    else:
        caption("All were asked for with the same settings, on the same versions.")
    curves: charts.Views = {name: view.curves for name, view in views.items()}
    if not any(curves.values()):
        caption("None of them has trained yet.")
        return
    axes: tuple[charts.Axis, ...] = ("step", "epoch")
    by = st.segmented_control("Along x", axes, default="step", required=True, key=session.RUNS_AXIS)
    chart(charts.losses(curves, is_dark(), by), key="chart_runs_losses", alt=charts.losses_alt(curves))
    caption(
        "How to read this: colour and dash are the arm, the shape of the marks is the run. Thin lines are the rows "
        "of each step, hollow marks the mean of an epoch, thick lines the held-out rows. Each arm is scored on its own "
        "text, so a lower line of another arm is no better model."
    )
    last = "Last losses, in nats per token: train is the mean of the last epoch"
    st.html(table_html(charts.finals_table(views), last, compact=True))
    download("Losses of these runs as CSV", lambda: to_csv(charts.losses_table(curves)), "runs-losses.csv")


def differing_settings(records: Sequence[RunRecord], names: Sequence[str]) -> list[dict[str, str]]:
    """Settings and versions that are not the same in all runs, a column a run; `names` are all different."""
    settings = [_flat({**record.recipe.model_dump(mode="json"), "version": record.versions}) for record in records]
    rows = []
    for name in dict.fromkeys(name for one in settings for name in one):
        values = [one.get(name, "–") for one in settings]
        if len(set(values)) > 1:
            rows.append({"Setting": name, **dict(zip(names, values, strict=True))})
    return rows


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, str]:
    """`{"train.epochs": "5", …}`: groups drawn apart, values in words."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}.")
        else:
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found[before + name] = "–" if value is None else words
    return found
