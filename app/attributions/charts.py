"""Figures of Token attributions: numbers to plotly, pure. Text of tokens is escaped: plotly reads tags in labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.ui.figures import ACCENT, INK, KEY, MUTED, VALUE, Drawing, build_figure, token_label
from spd_core.attribution.tables import ASIDE, LOSS, OTHER

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas import DataFrame

ROLE_COLOURS = {LOSS: ACCENT, OTHER: MUTED, ASIDE: INK}
"""As among the gradient rows of Spectrum."""
_SYMBOL = {LOSS: "diamond", OTHER: "circle", ASIDE: "x"}
_ROOM = {"t": 34}
"""Above the data, where plotly's buttons stand."""
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
        "height": 92 + 22 * len(labels),
        "margin": _ROOM,
        "xaxis": {"tickformat": ".2~%"} | _title("share of σ² (%)"),
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
                "marker": {"color": ROLE_COLOURS[role][dark], "pattern": pattern},
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
                "marker": {"size": 7, "opacity": 0.7, "color": ROLE_COLOURS[role][dark], "symbol": _SYMBOL[role]},
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


def lens_bars(tokens: Sequence[Any], random: Sequence[float] = (), *, dark: bool = False) -> "go.Figure":
    """Scores of promoted and suppressed tokens of a logit lens, the most promoted on top.

    Args:
        random: the largest |score| of random directions: a band on either side.
    """
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
    layout = {
        "height": 92 + 20 * len(labels),
        "margin": _ROOM,
        "xaxis": _title("score (logits, approximate)"),
        "yaxis": _named(labels),
        "shapes": [_grey(sign * min(random), sign * max(random), "x", "y", dark) for sign in (1, -1) if random],
    }
    return build_figure([bars], layout, dark=dark)


def change_panels(rows: Sequence[dict[str, Any]], *, dark: bool = False) -> "go.Figure":
    """Mean change of log p with its interval above the same with random directions, a panel with its own scale for
    each change, below each other, so that they fit on a phone.

    Args:
        rows: `name`, `mean`, `low`, `high`, `random` (the mean with each random direction), and `least` and `most` of
            their band, all in nats.
    """
    data: list[Drawing] = []
    shapes: list[Drawing] = []
    titles: list[Drawing] = []
    layout: Drawing = {"height": 210 * len(rows), "showlegend": False, "margin": _ROOM}
    for at, row in enumerate(rows):
        x, y = f"x{at + 1 if at else ''}", f"y{at + 1 if at else ''}"
        below, above = 1 - (at + 0.75) / len(rows), 1 - (at + 0.16) / len(rows)
        data += [_own_change(row, x, y, dark), _random_changes(row, x, y, dark)]
        layout |= {
            f"xaxis{x[1:]}": {"anchor": y} | _title("← less probable · log p, nats · more probable →"),
            f"yaxis{y[1:]}": {
                "domain": [below, above],
                "anchor": x,
                "range": [-0.6, 1.6],
                "tickvals": [0, 1],
                "ticktext": [f"{len(row['random'])} random ones", "this direction"],
                "showgrid": False,
                "zeroline": False,
            },
        }
        shapes += [_grey(row["least"], row["most"], x, y, dark), _zero(x, y, dark)]
        titles.append(
            {"text": f"<b>{row['name'].capitalize()}</b>", "x": 0, "y": above, "xref": "paper",
             "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
        )  # fmt: skip
    return build_figure(data, layout | {"shapes": shapes, "annotations": titles}, dark=dark)


def _own_change(row: dict[str, Any], x: str, y: str, dark: bool) -> Drawing:
    return {
        "type": "scatter",
        "x": [row["mean"]],
        "y": [1],
        "xaxis": x,
        "yaxis": y,
        "mode": "markers",
        "name": row["name"],
        "marker": {"size": 13, "color": KEY[dark]},
        "error_x": {"array": [row["high"] - row["mean"]], "arrayminus": [row["mean"] - row["low"]], "thickness": 3},
        "customdata": [[row["low"], row["high"]]],
        "hovertemplate": "this direction<br>mean %{x:+.4g} nats<br>95%: %{customdata[0]:+.4g} to "
        "%{customdata[1]:+.4g}<extra></extra>",
    }


def _random_changes(row: dict[str, Any], x: str, y: str, dark: bool) -> Drawing:
    return {
        "type": "scatter",
        "x": list(row["random"]),
        "y": [0] * len(row["random"]),
        "xaxis": x,
        "yaxis": y,
        "mode": "markers",
        "name": "random",
        "marker": {"size": 14, "color": MUTED[dark], "symbol": "line-ns-open", "line": {"width": 2}},
        "hovertemplate": "a random direction<br>mean %{x:+.4g} nats<extra></extra>",
    }


def _grey(start: float, end: float, x: str, y: str, dark: bool) -> Drawing:
    """What random directions do: what lies inside is as weak as chance."""
    ends = {"x0": start, "x1": end, "y0": 0, "y1": 1, "xref": x, "yref": f"{y} domain"}
    return {"type": "rect", **ends, "fillcolor": MUTED[dark], "opacity": 0.25, "line": {"width": 0}, "layer": "below"}


def _zero(x: str, y: str, dark: bool) -> Drawing:
    ends = {"x0": 0, "x1": 0, "y0": 0, "y1": 1, "xref": x, "yref": f"{y} domain"}
    return {"type": "line", **ends, "line": {"color": INK[dark], "width": 1, "dash": "dot"}}


def _title(text: str) -> Drawing:
    return {"title": {"text": text}}


def _named(labels: Sequence[str]) -> Drawing:
    """A y axis of rows with names, the first on top."""
    return {"autorange": "reversed", "tickvals": list(range(len(labels))), "ticktext": list(labels)}
