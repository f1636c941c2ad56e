"""Energy shares summed over all calibration texts: a figure, the table twin and the downloads."""

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.attributions import charts as figures
from app.attributions.calibration_texts import direction_file_name
from app.attributions.token_tables import COLUMNS, readable_table
from app.ui import session
from app.ui.session import Selection
from app.ui.tables import to_csv
from app.ui.widgets import caption, chart, counted, download, escaped, is_dark
from spd_core.attribution import tables
from spd_core.attribution.tables import ASIDE, ROLES
from spd_core.errors import InputError
from spd_core.subspace.analysis import Analysis
from spd_core.text import signed

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure

_BY_TOKEN, _BY_POSITION, _AGREEMENT = "by token string", "by position", "against the baseline"
_ALTS = {
    _BY_TOKEN: "Energy share summed by token string.",
    _BY_POSITION: "Energy share by position in the text.",
    _AGREEMENT: "Energy share of each token against its gradient × activation, on log axes.",
}
_READ = {
    _BY_TOKEN: "long bars are the tokens that this direction comes from.",
    _BY_POSITION: "high bars are the places in the texts that this direction comes from.",
    _AGREEMENT: "dots along a rising line mean that both attributions agree. Click a dot to select its token.",
}


def _correlation(table: "DataFrame") -> str:
    try:
        found = tables.rank_correlation(table)
    except InputError as error:
        return escaped(str(error))
    return "not defined, one of them is constant" if math.isnan(found) else f"ρ = {signed(found, '+.2f')}"


def energy_sums_panel(table: "DataFrame", analysis: Analysis, at: Selection, hide: bool) -> None:
    """Shares summed over all texts, their rank correlation with the baseline, the table twin and the downloads."""
    by_role = tables.summed(table, "role").set_index("role").share
    shares_by_role = " · ".join(f"{role} **{by_role.get(role, 0):.2%}**" for role in ROLES)
    st.subheader("Over all calibration texts", anchor=False)
    st.markdown(
        f"The shares of {counted(len(table), 'token')} sum to **{table.share.sum():.4%}**: {shares_by_role}.  \n"
        f"Rank correlation of share and |gradient × activation| (Spearman): **{_correlation(table)}**. At 1 this "
        "direction's tokens are those that the baseline names too; near 0 they are others."
    )
    shown = table[~table.aside] if hide else table

    def draw(view: str, dark: bool = False) -> "Figure":
        if view == _BY_TOKEN:
            return figures.by_token(tables.summed(shown, "text"), dark=dark)
        return (figures.by_position if view == _BY_POSITION else figures.agreement)(shown, dark=dark)

    view = st.segmented_control(
        "Drawn",
        tuple(_ALTS),
        default=_BY_TOKEN,
        required=True,
        key=session.SUMS,
        bind="query-params",
        label_visibility="collapsed",
    )
    view = view if view in _ALTS else _BY_TOKEN
    chart(draw(view, is_dark()), key=f"chart_{view}", alt=_ALTS[view], pick=_pick if view == _AGREEMENT else None)
    st.markdown(f"**How to read this:** {_READ[view]}")
    if hide:
        caption(f"Without the {by_role.get(ASIDE, 0):.2%} of the energy that is hidden; the tables below hold all.")
    _twin(table)
    download("Every token as CSV", lambda: to_csv(table), f"tokens-{direction_file_name(at)}.csv")


def _pick(dot: Any) -> None:
    _, example, token = dot
    session.select(example=example, token=token)


def _twin(table: "DataFrame") -> None:
    choices = {"text": "by token string", "position": "by position", "role": "by what it is", "": "every token"}
    with st.expander("The numbers as a table", key=session.TOKEN_TABLE_OPEN, on_change="rerun") as opened:
        if not opened.open:
            return
        by = st.segmented_control(
            "Summed",
            tuple(choices),
            default="text",
            format_func=choices.__getitem__,
            key=session.TOKEN_TABLE,
            required=True,
            persist_state="session",
        )
        rows = tables.summed(table, by) if by else table.sort_values("share", ascending=False)
        st.dataframe(
            readable_table(rows),
            hide_index=True,
            height=320,
            column_config=COLUMNS,
            alt="Energy shares",
            column_order=[name for name in COLUMNS if name in rows],
        )
