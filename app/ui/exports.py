"""What a user takes away: tables as CSV, figures as HTML. Pure: no Streamlit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spd_core.templates import render

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas import DataFrame


def to_csv(table: "DataFrame | Sequence[Mapping[str, Any]]") -> bytes:
    """A table as CSV; numbers with all their digits."""
    import pandas as pd

    text: str = pd.DataFrame(table).to_csv(index=False)
    return text.encode()


def to_html(figures: Sequence["go.Figure"], title: str) -> bytes:
    """Figures, drawn for a light page, as one HTML file that needs no network; `title` is escaped."""
    from markupsafe import Markup

    drawn = [Markup(figure.to_html(full_html=False, include_plotlyjs=i == 0)) for i, figure in enumerate(figures)]
    return render("figures.html", title=title, figures=drawn).encode()
