"""Figures of Token attributions: numbers to plotly, pure. Text of tokens is escaped: plotly reads tags in labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.ui.figures import INK, KEY, MUTED, VALUE, Drawing, build_figure, token_label
from spd_core.attribution.tables import ASIDE, LOSS, OTHER

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas import DataFrame

_COLOUR = {LOSS: VALUE, OTHER: KEY, ASIDE: MUTED}
_SYMBOL = {LOSS: "diamond", OTHER: "circle", ASIDE: "x"}
_PATTERN = {LOSS: "/", OTHER: "", ASIDE: "x"}


def by_token(sums: "DataFrame", *, most: int = 12, dark: bool = False) -> "go.Figure":
    """Energy share of each token string, the largest on top, and of all others together."""
    first, rest = sums.head(most), sums.iloc[most:]
    labels = [token_label(text) for text in first.text]
    shares, counts = first.share.tolist(), first.tokens.tolist()
    if len(rest):
        labels = [*labels, f"{len(rest)} others"]
        shares, counts = [*shares, rest.share.sum()], [*counts, sum(rest.tokens)]
    bars = {
        "type": "bar",
        "x": shares,
        "y": list(range(len(labels))),
        "orientation": "h",
        "marker": {"color": KEY[dark]},
        "customdata": list(zip(labels, counts, strict=True)),
        "hovertemplate": "%{customdata[0]}<br>%{x:.3%} of σ²<br>%{customdata[1]} tokens<extra></extra>",
    }
    layout = {
        "height": 70 + 22 * len(labels),
        "xaxis": {"tickformat": ".0%"} | _title("share of σ² (%)"),
        "yaxis": _named(labels),
    }
    return build_figure([bars], layout, dark=dark)


def by_position(table: "DataFrame", *, dark: bool = False) -> "go.Figure":
    """Energy share at each position, stacked by what the tokens are."""
    data = []
    for role, part in table.groupby("role", sort=False):
        sums = part.groupby("position").share.agg(["sum", "size"])
        pattern = {"shape": _PATTERN[role], "fillmode": "overlay", "solidity": 0.25}
        data.append(
            {
                "type": "bar",
                "x": sums.index,
                "y": sums["sum"],
                "name": str(role),
                "customdata": sums["size"],
                "marker": {"color": _COLOUR[role][dark], "pattern": pattern},
                "hovertemplate": "position %{x}<br>%{y:.3%} of σ²<br>%{customdata} tokens"
                "<extra>%{fullData.name}</extra>",
            }
        )
    layout = {
        "height": 330,
        "barmode": "stack",
        "xaxis": _title("position in the text (tokens)"),
        "yaxis": {"tickformat": ".1%"} | _title("share of σ² (%)"),
    }
    return build_figure(data, layout, dark=dark)


def agreement(table: "DataFrame", *, dark: bool = False) -> "go.Figure":
    """Energy share against |gradient × activation| of every token that has both, on log axes."""
    felt = table[(table.baseline != 0) & (table.share > 0)]
    data = []
    for role, part in felt.groupby("role", sort=False):
        hovers = [
            (f"{token_label(row.text)}, position {row.position}", int(row.example), int(row.position))
            for row in part.itertuples()
        ]
        data.append(
            {
                "type": "scattergl",
                "x": part.baseline.abs(),
                "y": part.share,
                "mode": "markers",
                "name": str(role),
                "customdata": hovers,
                "unselected": {"marker": {"opacity": 0.7}},
                "marker": {"size": 7, "opacity": 0.7, "color": _COLOUR[role][dark], "symbol": _SYMBOL[role]},
                "hovertemplate": "%{customdata[0]}<br>%{y:.2e} of σ²<br>|gradient × activation| %{x:.2e} nats"
                "<extra>%{fullData.name}</extra>",
            }
        )
    log = {"type": "log", "exponentformat": "power", "nticks": 6}
    layout = {
        "height": 330,
        "xaxis": log | _title("|gradient × activation| (nats)"),
        "yaxis": log | _title("share of σ²"),
    }
    return build_figure(data, layout, dark=dark)


def lens_bars(tokens: Sequence[Any], *, dark: bool = False) -> "go.Figure":
    """Scores of promoted and suppressed tokens of a logit lens, the most promoted on top."""
    ordered = sorted(tokens, key=lambda token: -token.score)
    labels = [token_label(token.text) for token in ordered]
    bars = {
        "type": "bar",
        "x": [token.score for token in ordered],
        "y": list(range(len(labels))),
        "orientation": "h",
        "marker": {"color": [(VALUE if token.score > 0 else KEY)[dark] for token in ordered]},
        "customdata": [[label, token.id] for label, token in zip(labels, ordered, strict=True)],
        "hovertemplate": "%{customdata[0]}<br>token id %{customdata[1]}<br>%{x:+.3g} logits<extra></extra>",
    }
    layout = {"height": 70 + 20 * len(labels), "xaxis": _title("score (logits, approximate)"), "yaxis": _named(labels)}
    return build_figure([bars], layout, dark=dark)


def change_bars(rows: Sequence[dict[str, Any]], *, dark: bool = False) -> "go.Figure":
    """Mean change of log p with its interval, a row for each change; random directions in grey.

    Args:
        rows: `name`, `mean`, `low`, `high` (nats) and `random`.
    """
    data = [
        {
            "type": "scatter",
            "x": [row["mean"]],
            "y": [at],
            "mode": "markers",
            "name": row["name"],
            "marker": {
                "size": 12,
                "color": (MUTED if row["random"] else KEY)[dark],
                "symbol": "circle-open" if row["random"] else "circle",
                "line": {"width": 3},
            },
            "error_x": {"array": [row["high"] - row["mean"]], "arrayminus": [row["mean"] - row["low"]], "thickness": 2},
            "customdata": [[row["name"], row["low"], row["high"]]],
            "hovertemplate": "%{customdata[0]}<br>mean %{x:+.4g} nats<br>95 %: %{customdata[1]:+.4g} to "
            "%{customdata[2]:+.4g}<extra></extra>",
        }
        for at, row in enumerate(rows)
    ]
    zero = {
        "type": "line",
        "x0": 0,
        "x1": 0,
        "yref": "y domain",
        "y0": 0,
        "y1": 1,
        "line": {"color": INK[dark], "width": 1},
    }
    layout = {
        "height": 90 + 48 * len(rows),
        "showlegend": False,
        "shapes": [zero],
        "xaxis": _title("mean change of log p (nats)"),
        "yaxis": _named([row["name"] for row in rows]),
    }
    return build_figure(data, layout, dark=dark)


def _title(text: str) -> Drawing:
    return {"title": {"text": text}}


def _named(labels: Sequence[str]) -> Drawing:
    """A y axis of rows with names, the first on top."""
    return {"autorange": "reversed", "tickvals": list(range(len(labels))), "ticktext": list(labels)}
