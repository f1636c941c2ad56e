"""Comparisons to what is drawn: token ribbons, curves along the text. Pure: no Streamlit state.

Ribbons are drawn by `token_strip`, whose text reaches the page as text alone.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from app.ui.figures import INK, LANE_COLOURS, build_figure, plotly_text
from spd_core.generation import report
from spd_core.generation.comparison import Comparison, LaneText, Token
from spd_core.text import shown, signed

if TYPE_CHECKING:
    import plotly.graph_objects as go

LOGPROB, ENTROPY, KL = "log-probability", "entropy", "KL"
METRICS = (LOGPROB, ENTROPY, KL)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


# --- ribbons -------------------------------------------------------------------------------------------------


def token_value(token: Token, metric: str) -> float:
    """What a ribbon colours: surprise −log p, entropy or KL, in nats; 0 where it is not known."""
    known = {LOGPROB: -token.logprob, ENTROPY: token.entropy, KL: token.kl}[metric]
    return known if known is not None and math.isfinite(known) else 0.0


def largest_value(lanes: Sequence[LaneText], metric: str) -> float:
    """The number with the full colour, the same for all lanes."""
    return max((token_value(token, metric) for lane in lanes for token in lane.tokens), default=0.0) or 1.0


def ribbon(lane: LaneText, other: str, metric: str, most: float, selected: int | None) -> dict[str, Any]:
    """What `token_strip` draws for a lane.

    Args:
        other: label of the lane that it was read under.
        most: the number with the full colour.
        selected: index of the chosen token.
    """
    values = [token_value(token, metric) for token in lane.tokens]
    marked = sorted(range(len(values)), key=values.__getitem__)[-3:]
    tokens = [
        {
            "text": token_text(token),
            "shade": round(math.sqrt(min(max(values[at] / most, 0.0), 1.0)), 3),
            "largest": at in marked and values[at] > most / 10,
            "loss": False,
            "aside": False,
            "tip": token_tip(token, at, other),
        }
        for at, token in enumerate(lane.tokens)
    ]
    name = {LOGPROB: "surprise −log p", ENTROPY: "entropy", KL: f"KL to {other}"}[metric]
    legend = {"ticks": ["0", f"{most:.2g}"], "unit": f"nats: {name}", "loss": False, "aside": False}
    inside = selected if selected is not None and selected < len(tokens) else None
    label = f"{lane.label}: {len(tokens)} tokens by {name}"
    return {"tokens": tokens, "label": label, "selected": inside, "diverging": False, "legend": legend}


def token_text(token: Token) -> str:
    """A token's text as it is shown; ∅ where it adds none (a part of a character, a special token)."""
    return shown(token.text).replace("\n", "↵\n") or "∅"


def token_tip(token: Token, at: int, other: str) -> str:
    """All that is known of a token, a line each."""
    lines = [
        f"“{token_text(token).strip() or '·'}” · token {at + 1} · id {token.id}",
        f"log p {signed(token.logprob)} nats (p {math.exp(token.logprob):.1%}) · entropy {token.entropy:.2f} nats",
    ]
    if token.kl is not None and token.other_logprob is not None:
        lines.append(f"in {other}: log p {signed(token.other_logprob)} nats · KL {token.kl:.3f} nats")
    if token.top:
        lines += [f"likeliest here: {alternatives(token.top)}", f"in {other}: {alternatives(token.other_top)}"]
    return "\n".join(lines)


def alternatives(top: Sequence[tuple[str, float]]) -> str:
    """Tokens with their probabilities in one line."""
    return ", ".join(f"“{shown(text).replace(chr(10), '↵')}” {share:.1%}" for text, share in top)


def token_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The table twin of the ribbons: a row for each token."""
    return [
        {
            "Lane": lane.label,
            "Token": at,
            "Text": token_text(token).replace("\n", ""),
            "log p": token.logprob,
            "log p in the other": token.other_logprob,
            "Entropy": token.entropy,
            "KL": token.kl,
            "Likeliest here": alternatives(token.top),
            "Likeliest in the other": alternatives(token.other_top),
        }
        for lane in comparison.lanes
        for at, token in enumerate(lane.tokens, 1)
    ]


def tokens_at_place(comparison: Comparison, place: int) -> list[dict[str, str]]:
    """A row for each lane that has a token at this 0-based place; before it lanes may have written different texts."""
    rows = []
    for lane in comparison.lanes:
        if place < len(lane.tokens):
            token = lane.tokens[place]
            kl = "" if token.kl is None else f"{token.kl:.3f}"
            rows.append(
                {
                    "Lane": lane.label,
                    "Token": f"“{token_text(token)}”",
                    "log p": signed(token.logprob),
                    "Entropy": f"{token.entropy:.2f}",
                    "KL": kl,
                    "Likeliest here": alternatives(token.top),
                    "Likeliest in the other lane": alternatives(token.other_top),
                }
            )
    return rows


# --- figures -------------------------------------------------------------------------------------------------


def token_curves(comparison: Comparison, *, dark: bool = False) -> "go.Figure":
    """Log-probability, entropy and KL along the text, a panel each and a line a lane; the first divergence marked."""
    data = []
    for at, lane in enumerate(comparison.lanes):
        x, texts = list(range(1, len(lane.tokens) + 1)), [_hover(token) for token in lane.tokens]
        line = {"color": LANE_COLOURS[at % len(LANE_COLOURS)][dark], "width": 2, "dash": _DASHES[at % len(_DASHES)]}
        series = ([t.logprob for t in lane.tokens], [t.entropy for t in lane.tokens], [t.kl for t in lane.tokens])
        for row, y in enumerate(series):
            data.append(
                {
                    "type": "scatter",
                    "x": x,
                    "y": y,
                    "mode": "lines+markers",
                    "line": line,
                    "marker": {"size": 4},
                    "name": plotly_text(shown(lane.label)),
                    "legendgroup": lane.label,
                    "showlegend": not row,
                    "text": texts,
                    "hovertemplate": "token %{x} “%{text}”<br>%{y:.3f} nats<extra>%{fullData.name}</extra>",
                    "xaxis": _axis("x", row),
                    "yaxis": _axis("y", row),
                }
            )
    layout = dict(_stacked())
    forks = (report.first_difference(lane, comparison) for lane in comparison.lanes[1:])
    fork = min((at for at in forks if at is not None), default=None)
    if fork is not None:
        mark = {"x": fork + 1, "xref": "x", "yref": "y domain"}
        layout["shapes"] = [
            {
                "type": "line",
                "x0": mark["x"],
                "x1": mark["x"],
                "y0": 0,
                "y1": 1,
                "xref": "x",
                "yref": "y domain",
                "line": {"dash": "dash", "width": 1, "color": INK[dark]},
            }
        ]
        layout["annotations"] = [
            *layout["annotations"],
            mark | {"text": "first divergence", "yanchor": "bottom", "y": 1, "showarrow": False},
        ]
    return build_figure(data, layout, dark=dark)


def _axis(which: str, row: int) -> str:
    return f"{which}{row + 1}" if row else which


@lru_cache
def _stacked() -> dict[str, Any]:
    """Axes and titles of a panel for each metric, as plotly lays them out; not to be changed."""
    from plotly.subplots import make_subplots

    grid = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.09,
        subplot_titles=[f"{metric} (nats)" for metric in METRICS],
    )
    layout = grid.to_dict()["layout"]
    titles = [{**title, "font": {"size": 14}} for title in layout["annotations"]]
    axes = {name: axis for name, axis in layout.items() if "axis" in name}
    axes["xaxis3"] |= {"title": {"text": "token"}}
    return axes | {
        "annotations": titles,
        "height": 560,
        "margin": {"l": 8, "r": 8, "t": 96, "b": 8},
        "legend": {"y": 1.14},
    }


def _hover(token: Token) -> str:
    return plotly_text(shown(token_text(token).replace("\n", "")))
