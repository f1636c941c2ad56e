"""Tables that pages share: rows as HTML, and as CSV to take away. Pure: no Streamlit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spd_core.generation import report

if TYPE_CHECKING:
    from pandas import DataFrame


def table_html(rows: Sequence[dict[str, str]], label: str) -> str:
    """Rows as an escaped HTML table that scrolls sideways by keyboard too, where it is wider than the screen."""
    head = "".join(f'<th scope="col">{report.literal(name)}</th>' for name in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{report.literal(cell)}</td>' for cell in row.values())}</tr>" for row in rows)
    named = f'role="region" tabindex="0" aria-label="{report.literal(label)}"'
    return f'<div class="spd-table" {named}><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def to_csv(table: "DataFrame | Sequence[Mapping[str, Any]]") -> bytes:
    """A table as CSV; numbers with all their digits."""
    import pandas as pd

    text: str = pd.DataFrame(table).to_csv(index=False)
    return text.encode()
