"""Tables that pages share: rows as HTML, and as CSV to take away. Pure: no Streamlit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spd_core.templates import render

if TYPE_CHECKING:
    from pandas import DataFrame


def table_html(rows: Sequence[dict[str, str]], label: str, *, compact: bool = False) -> str:
    """Rows as an escaped HTML table that scrolls sideways by keyboard too, where it is wider than the screen.

    On a phone a row is a card; of a `compact` table the first three columns stay columns, and the others, all of them
    short, stand in small below them.
    """
    values = [list(row.values()) for row in rows]
    return render("table.html", label=label, names=list(rows[0]), rows=values, compact=compact)


def to_csv(table: "DataFrame | Sequence[Mapping[str, Any]]") -> bytes:
    """A table as CSV; numbers with all their digits."""
    import pandas as pd

    text: str = pd.DataFrame(table).to_csv(index=False)
    return text.encode()
