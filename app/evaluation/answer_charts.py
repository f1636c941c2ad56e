"""How answers look, right or wrong: length, stopping, format. Pure: no Streamlit."""

from typing import TYPE_CHECKING

from app.ui.figures import KEY, MUTED, Drawing, build_figure, plotly_text
from app.ui.set_panels import row_label, set_title
from spd_core.evaluation.table import Answered, Column, Table

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LOOKS = {
    "ended before the limit": (MUTED, True),
    "answer could be read": (MUTED, False),
    "right if cut at the first answer": (KEY, False),
    "right": (KEY, True),
}
"""Colour of each share, and whether its bars are filled: grey is form, blue is right; outlines tell bars apart, too."""
_FAINT = "2e"  # opacity inside an outline, as plotly reads it after a colour


def answers_on(table: Table, column: Column) -> list[Answered]:
    """The subjects that have answered a set, as in the recipe."""
    found = (table.answered.get((subject.name, column.name)) for subject in table.recipe.subjects)
    return [one for one in found if one is not None]


def answer_shares(one: Answered) -> dict[str, float]:
    """Shares of a subject's answers on a set, from 0 to 1; none of a likelihood, which writes nothing."""
    if one.likelihood:
        return {}
    return {
        "ended before the limit": one.share("ended"),
        "answer could be read": one.share("read"),
        "right if cut at the first answer": float(one.early.mean()),
        "right": one.estimate.value,
    }


def answer_bars(table: Table, column: Column, dark: bool) -> "go.Figure":
    """Shares of all answers as bars, four for each subject, and the mean length above them."""
    answered = answers_on(table, column)
    rows = list(range(len(answered)))
    data: list[Drawing] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": rows,
            "x": [100 * answer_shares(one)[name] for one in answered],
            "name": name,
            "marker": {"color": _fill(colours[dark], filled), "line": {"color": colours[dark], "width": 1.5}},
            "text": [plotly_text(one.subject.title) for one in answered],
            "textposition": "none",
            "hovertemplate": f"%{{text}}<br>%{{x:.1f}}% {name}<extra></extra>",
        }
        for name, (colours, filled) in _LOOKS.items()
    ]
    names = [f"{row_label(one.subject.title)}<br>{one.length:.1f} tokens" for one in answered]
    layout: Drawing = {
        "barmode": "group",
        "height": 144 + 66 * len(answered),
        "bargap": 0.3,
        "bargroupgap": 0.25,
        "margin": {"t": 84},
        "legend": {
            "traceorder": "normal",
            "y": 1 - 26 / (144 + 66 * len(answered)),
            "yref": "container",
            "yanchor": "top",
        },
        "xaxis": {"title": {"text": "share of answers (%)"}, "range": [0, 102]},
        "yaxis": {"tickvals": rows, "ticktext": names, "autorange": "reversed"},
    }
    return build_figure(data, layout, dark=dark)


def _fill(colour: str, filled: bool) -> str:
    return colour if filled else f"{colour}{_FAINT}"


def answer_bars_alt(table: Table, column: Column) -> str:
    """The bars in a sentence for each subject."""
    sentences = []
    for one in answers_on(table, column):
        shares = ", ".join(f"{100 * share:.0f}% {name}" for name, share in answer_shares(one).items())
        sentences.append(f"{one.subject.title}: {one.length:.1f} tokens, {shares}")
    return f"Answers on {set_title(column)}. {'; '.join(sentences)}."
