"""Figures of Token attributions: numbers to plotly, pure. Text of tokens is escaped: plotly reads tags in labels."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.charts import GRID, INK, KEY, MUTED, VALUE
from app.tokens import visible
from spd_core.token_tables import ASIDE, LOSS, OTHER

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas import DataFrame

_COLOUR = {LOSS: VALUE, OTHER: KEY, ASIDE: MUTED}
_SYMBOL = {LOSS: "diamond", OTHER: "circle", ASIDE: "x"}
_PATTERN = {LOSS: "/", OTHER: "", ASIDE: "x"}


def literal(text: str, most: int = 24) -> str:
    """A token's text as a plotly label: white space visible, tags and entities shown as they stand."""
    shown = visible(text).replace("\n", "") or "∅"
    return html.escape(shown if len(shown) <= most else f"{shown[:most]}…", quote=False)  # plotly knows no &quot;


def by_token(sums: "DataFrame", *, most: int = 12, dark: bool = False) -> "go.Figure":
    """Energy share of each token string, the largest on top, and of all others together."""
    import plotly.graph_objects as go

    first, rest = sums.head(most), sums.iloc[most:]
    labels = [literal(text) for text in first.text]
    shares, counts = first.share.tolist(), first.tokens.tolist()
    if len(rest):
        labels, shares, counts = (
            [*labels, f"{len(rest)} others"],
            [*shares, rest.share.sum()],
            [*counts, sum(rest.tokens)],
        )
    bars = go.Bar(
        x=shares, y=list(range(len(labels))), orientation="h", marker_color=KEY[dark],
        customdata=list(zip(labels, counts, strict=True)),
        hovertemplate="%{customdata[0]}<br>%{x:.3%} of σ²<br>%{customdata[1]} tokens<extra></extra>",
    )  # fmt: skip
    figure = _styled(go.Figure(bars), dark, 70 + 22 * len(labels), "share of σ² (%)")
    return figure.update_xaxes(tickformat=".0%").update_yaxes(
        autorange="reversed", tickvals=list(range(len(labels))), ticktext=labels
    )


def by_position(table: "DataFrame", *, dark: bool = False) -> "go.Figure":
    """Energy share at each position, stacked by what the tokens are."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for role, part in table.groupby("role", sort=False):
        sums = part.groupby("position").share.agg(["sum", "size"])
        figure.add_bar(
            x=sums.index, y=sums["sum"], name=str(role), customdata=sums["size"], marker_color=_COLOUR[role][dark],
            marker_pattern={"shape": _PATTERN[role], "fillmode": "overlay", "solidity": 0.25},
            hovertemplate="position %{x}<br>%{y:.3%} of σ²<br>%{customdata} tokens<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    figure = _styled(figure, dark, 330, "position in the text (tokens)").update_layout(barmode="stack")
    return figure.update_yaxes(tickformat=".1%", title={"text": "share of σ² (%)", "font": {"color": INK[dark]}})


def agreement(table: "DataFrame", *, dark: bool = False) -> "go.Figure":
    """Energy share against |gradient × activation| of every token that has both, on log axes."""
    import plotly.graph_objects as go

    felt = table[(table.baseline != 0) & (table.share > 0)]
    figure = go.Figure()
    for role, part in felt.groupby("role", sort=False):
        said = [
            (f"{literal(row.text)}, position {row.position}", int(row.example), int(row.position))
            for row in part.itertuples()
        ]
        figure.add_scattergl(
            x=part.baseline.abs(), y=part.share, mode="markers", name=str(role), customdata=said,
            marker={"size": 7, "opacity": 0.7, "color": _COLOUR[role][dark], "symbol": _SYMBOL[role]},
            unselected={"marker": {"opacity": 0.7}},
            hovertemplate="%{customdata[0]}<br>%{y:.2e} of σ²<br>|gradient × activation| %{x:.2e} nats"
            "<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    figure = _styled(figure, dark, 330, "|gradient × activation| (nats)")
    figure.update_yaxes(title={"text": "share of σ²", "font": {"color": INK[dark]}})
    return figure.update_xaxes(type="log", exponentformat="power", nticks=6).update_yaxes(
        type="log", exponentformat="power", nticks=6
    )


def lens_bars(tokens: Sequence[Any], *, dark: bool = False) -> "go.Figure":
    """Scores of promoted and suppressed tokens of a logit lens, the most promoted on top."""
    import plotly.graph_objects as go

    ordered = sorted(tokens, key=lambda token: -token.score)
    labels = [literal(token.text) for token in ordered]
    bars = go.Bar(
        x=[token.score for token in ordered], y=list(range(len(labels))), orientation="h",
        marker_color=[(VALUE if token.score > 0 else KEY)[dark] for token in ordered],
        customdata=[[label, token.id] for label, token in zip(labels, ordered, strict=True)],
        hovertemplate="%{customdata[0]}<br>token id %{customdata[1]}<br>%{x:+.3g} logits<extra></extra>",
    )  # fmt: skip
    figure = _styled(go.Figure(bars), dark, 70 + 20 * len(labels), "score (logits, approximate)")
    return figure.update_yaxes(autorange="reversed", tickvals=list(range(len(labels))), ticktext=labels)


def change_bars(rows: Sequence[dict[str, Any]], *, dark: bool = False) -> "go.Figure":
    """Mean change of log p with its interval, a row for each change; random directions in grey.

    Args:
        rows: `name`, `mean`, `low`, `high` (nats) and `random`.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for at, row in enumerate(rows):
        figure.add_scatter(
            x=[row["mean"]], y=[at], mode="markers", name=row["name"],
            marker={"size": 12, "color": (MUTED if row["random"] else KEY)[dark],
                    "symbol": "circle-open" if row["random"] else "circle", "line": {"width": 3}},
            error_x={"array": [row["high"] - row["mean"]], "arrayminus": [row["mean"] - row["low"]], "thickness": 2},
            customdata=[[row["name"], row["low"], row["high"]]],
            hovertemplate="%{customdata[0]}<br>mean %{x:+.4g} nats<br>95 %: %{customdata[1]:+.4g} to "
            "%{customdata[2]:+.4g}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK[dark], "width": 1})
    figure = _styled(figure, dark, 90 + 48 * len(rows), "mean change of log p (nats)")
    return figure.update_layout(showlegend=False).update_yaxes(
        autorange="reversed", tickvals=list(range(len(rows))), ticktext=[row["name"] for row in rows]
    )


def _styled(figure: "go.Figure", dark: bool, height: int, x: str) -> "go.Figure":
    ink = {"size": 12, "color": INK[dark]}
    axis = {"gridcolor": GRID[dark], "zerolinecolor": MUTED[dark], "tickfont": ink, "automargin": True}
    figure.update_yaxes(axis).update_xaxes({**axis, "title": {"text": x, "font": ink, "standoff": 6}})
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "font": ink}
    return figure.update_layout(height=height, margin={"l": 8, "r": 8, "t": 12, "b": 8}, legend=legend)
