"""Energy shares summed over all calibration texts: figures, the table twin and the downloads."""

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import attribution_charts as figures
from app import charts, session
from app.attributions import COLUMNS, MODEBAR, minus, named, readable, tokens_csv
from app.session import Selection
from app.widgets import counted, is_dark, plain, small
from spd_core import token_tables
from spd_core.analysis import Analysis
from spd_core.errors import InputError
from spd_core.token_tables import ASIDE, ROLES

if TYPE_CHECKING:
    from pandas import DataFrame

_AGREEMENT = "Against the baseline"


def _correlation(table: "DataFrame") -> str:
    try:
        found = token_tables.rank_correlation(table)
    except InputError as error:
        return plain(str(error))
    return "not defined, one of them is constant" if math.isnan(found) else f"ρ = {minus(found, '+.2f')}"


def sums(table: "DataFrame", analysis: Analysis, at: Selection, hide: bool) -> None:
    """Shares summed over all texts, their rank correlation with the baseline, the table twin and the downloads."""
    by_role = token_tables.summed(table, "role").set_index("role").share
    parts = " · ".join(f"{role} **{by_role.get(role, 0):.2%}**" for role in ROLES)
    st.subheader("Over all calibration texts", anchor=False)
    st.markdown(
        f"The shares of {counted(len(table), 'token')} sum to **{table.share.sum():.4%}**: {parts}.  \n"
        f"Rank correlation of share and |gradient × activation| (Spearman): **{_correlation(table)}**. At 1 this "
        "direction's tokens are those that the baseline names too; near 0 they are others."
    )
    shown, dark = table[~table.aside] if hide else table, is_dark()
    drawn = {
        "By token string": (figures.by_token(token_tables.summed(shown, "text"), dark=dark),
                            "Energy share summed by token string."),
        "By position": (figures.by_position(shown, dark=dark), "Energy share by position in the text."),
        _AGREEMENT: (figures.agreement(shown, dark=dark),
                                 "Energy share of each token against its gradient × activation, on log axes."),
    }  # fmt: skip
    for column, (title, (figure, alt)) in zip(st.columns(3, gap="medium"), drawn.items(), strict=True):
        column.markdown(f"**{title}**")
        column.plotly_chart(figure, key=f"chart_{title}", config=MODEBAR, alt=alt, selection_mode="points",
                            on_select=_pick_dot if title == _AGREEMENT else "ignore")  # fmt: skip
    st.markdown(
        "**How to read this:** long bars are the tokens and the positions that this direction comes from; dots along a "
        "rising line mean that both attributions agree. Click a dot to select its token."
    )
    if hide:
        small(f"Without the {by_role.get(ASIDE, 0):.2%} of the tokens that are set aside; the tables below hold all.")
    _twin(table, analysis, at, [figure for figure, _ in drawn.values()])


def _pick_dot() -> None:
    points = st.session_state[f"chart_{_AGREEMENT}"]["selection"]["points"]
    if points:
        _, example, token = points[0]["customdata"]
        session.select(example=example, token=token)


def _twin(table: "DataFrame", analysis: Analysis, at: Selection, drawn: list[Any]) -> None:
    choices = {"text": "by token string", "position": "by position", "role": "by what it is", "": "every token"}
    with st.expander("The numbers as a table"):
        by = st.segmented_control("Summed", tuple(choices), default="text", format_func=choices.__getitem__,
                                  key=session.TOKEN_TABLE, required=True, persist_state="session")  # fmt: skip
        rows = token_tables.summed(table, by) if by else table.sort_values("share", ascending=False)
        st.dataframe(readable(rows), hide_index=True, height=320, column_config=COLUMNS, alt="Energy shares",
                     column_order=[name for name in COLUMNS if name in rows])  # fmt: skip
    row = st.container(horizontal=True)
    tokens_csv(row, table, at)
    row.download_button("Figures as HTML", data=lambda: charts.to_html(drawn, f"{analysis.name}, {named(at)}"),
                        file_name=f"tokens-{named(at)}.html", mime="text/html", on_click="ignore",
                        icon=":material/download:")  # fmt: skip
