"""Tables that pages share: rows as HTML, and as CSV to take away. Pure: no Streamlit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spd_core.templates import render

if TYPE_CHECKING:
    from pandas import DataFrame


def table_html(rows: Sequence[dict[str, str]], label: str) -> str:
    """Rows as an escaped HTML table that scrolls sideways by keyboard too, where it is wider than the screen."""
    return render("table.html", label=label, names=list(rows[0]), rows=[list(row.values()) for row in rows])


def to_csv(table: "DataFrame | Sequence[Mapping[str, Any]]") -> bytes:
    """A table as CSV; numbers with all their digits."""
    import pandas as pd

    text: str = pd.DataFrame(table).to_csv(index=False)
    return text.encode()
