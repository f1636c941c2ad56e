"""Tables of tokens: how they read on screen, and those with the largest coordinates."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.ui.tokens import visible
from app.ui.widgets import caption
from spd_core.attribution import tables

if TYPE_CHECKING:
    from pandas import DataFrame


def readable_table(table: "DataFrame") -> "DataFrame":
    """White space made visible and texts counted from 1, as on screen."""
    one_line = {"text": lambda t: [visible(text).replace("\n", "") or "∅" for text in t.text]}
    return table.assign(
        **(one_line if "text" in table else {}), **({"example": table.example + 1} if "example" in table else {})
    )


COLUMNS: dict[str, Any] = {
    "text": st.column_config.TextColumn("Token"),
    "id": st.column_config.NumberColumn("Token id", format="%d"),
    "example": st.column_config.NumberColumn("Text"),
    "position": st.column_config.NumberColumn("Position"),
    "role": st.column_config.TextColumn("What it is"),
    "tokens": st.column_config.NumberColumn("Tokens"),
    "share": st.column_config.NumberColumn("Share of σ²", format="percent"),
    "gradient": st.column_config.NumberColumn("g·u", format="%.3g", help="Nats per unit"),
    "coordinate": st.column_config.NumberColumn("Coordinate", format="%.3g", help="k·u or v·u, in units of activation"),
    "baseline": st.column_config.NumberColumn("Gradient × activation", format="%.3g", help="Nats"),
}


def extreme_tokens(table: "DataFrame", hide: bool, *, key: str, pick: Callable[[int, int], None] | None = None) -> None:
    """The tokens with the largest coordinates of either sign; choosing a row selects its token."""
    lists = tables.extremes(table[~table.aside] if hide else table, "coordinate")
    for column, rows, title in zip(st.columns(2), lists, ("Most positive", "Most negative"), strict=True):
        with column:
            st.markdown(f"**{title}**")
            if rows.empty:
                caption("none")
                continue
            name = f"{key}_{title}"

            def chosen(name: str = name, rows: "DataFrame" = rows) -> None:
                for at in st.session_state[name].selection.rows if pick else []:
                    pick(int(rows.example.iloc[at]), int(rows.position.iloc[at]))  # type: ignore[misc]

            order = ["text", "coordinate", *(["example"] if pick else []), "position", "id"]
            st.dataframe(
                readable_table(rows)[order],
                hide_index=True,
                column_config=COLUMNS,
                key=name,
                selection_mode="single-row",
                on_select=chosen if pick else "ignore",
                alt=f"{title} coordinates",
            )
