"""Figures of a table of arms × sets: values, differences to the base, their intervals. Pure: no Streamlit.

Better is always on the right, and blue; what the data do not show has the muted colour and a mark of its own.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from app.ui.figures import INK, KEY, MUTED, VALUE, Drawing, build_figure, plotly_text
from spd_core.evaluation.claims import Claim
from spd_core.evaluation.paper import ITEMS, reported
from spd_core.evaluation.report import MARKS, shown_change, shown_interval, shown_p, shown_value
from spd_core.evaluation.statistics import Interval
from spd_core.evaluation.table import Answered, Column, Table, role
from spd_core.generation.report import opening

if TYPE_CHECKING:
    import plotly.graph_objects as go

LOOKS = {"helps": (KEY, "triangle-up"), "hurts": (VALUE, "triangle-down"), "not shown": (MUTED, "circle")}
"""Colours on a light and a dark page, and marker of each headline."""
LEAST_POINTS, LEAST_NATS = 0.10, 0.02
"""Differences, as a share and in nats, that a scale reaches at least: noise must not look like an effect."""
_ROW, _HEAD, _FOOT = 30, 48, 62  # pixels: of a subject, of a panel's title, and of its axis
_LABEL = 26  # characters of a subject beside its row; the rest is in the hover text


# --- panels ------------------------------------------------------------------------------------------------------


def set_title(column: Column) -> str:
    """`GSM8K, in-domain`: told in words, as it is no matter of colour or place."""
    return f"{column.title}, {'in-domain' if column.in_domain else 'out-of-domain'}"


def answered_sets(table: Table) -> list[Column]:
    """The sets that at least one subject has answered."""
    return [column for column in table.columns if any(name == column.name for _, name in table.answered)]


def compared_sets(table: Table) -> list[Column]:
    """The sets on which at least one subject can be compared with the base."""
    return [column for column in table.columns if any(name == column.name for _, name in table.claims)]


def _answers(table: Table, column: Column) -> list[tuple[str, Answered]]:
    names = [subject.name for subject in table.recipe.subjects]
    return [(name, table.answered[name, column.name]) for name in names if (name, column.name) in table.answered]


def _claims(table: Table, column: Column) -> list[tuple[str, Claim]]:
    names = [subject.name for subject in table.recipe.subjects]
    return [(name, table.claims[name, column.name]) for name in names if (name, column.name) in table.claims]


def _stacked(panels: Sequence[tuple[str, Sequence[str], Drawing]]) -> Drawing:
    """Axes of panels below each other, each as high as it has rows.

    Args:
        panels: title in two lines, the rows' names from the top, and the x axis.
    """
    heights = [_HEAD + _ROW * len(names) + _FOOT for _, names, _ in panels]
    total, top = sum(heights), 0.0
    layout: Drawing = {"height": total + 48, "margin": {"l": 8, "r": 16, "t": 48, "b": 0}, "annotations": [],
                       "legend": {"y": 1, "yref": "container", "yanchor": "top"}}  # fmt: skip
    for at, ((title, names, x), height) in enumerate(zip(panels, heights, strict=True)):
        number, upper = at + 1 if at else "", 1 - (top + _HEAD) / total
        lower = 1 - (top + height - _FOOT) / total
        layout[f"xaxis{number}"] = {"anchor": f"y{number}", "zeroline": False, **x}
        layout[f"yaxis{number}"] = {
            "anchor": f"x{number}", "domain": [max(0, lower), upper], "range": [len(names) - 0.4, -0.6],
            "tickvals": list(range(len(names))), "ticktext": [plotly_text(opening(name, _LABEL)) for name in names],
            "zeroline": False,
        }  # fmt: skip
        first, second = map(plotly_text, title.split("\n"))
        layout["annotations"].append({
            "text": f"<b>{first}</b><br>{second}", "xref": "paper", "x": 0, "xanchor": "left", "yref": "paper",
            "y": upper, "yanchor": "bottom", "yshift": 4, "showarrow": False, "align": "left",
        })  # fmt: skip
        top += height
    return layout


def _on(at: int) -> Drawing:
    number = at + 1 if at else ""
    return {"type": "scatter", "mode": "markers", "xaxis": f"x{number}", "yaxis": f"y{number}"}


def _upright(at: int, x: float, rows: int, line: Drawing) -> Drawing:
    """A line across all rows of a panel."""
    return {**_on(at), "mode": "lines", "x": [x, x], "y": [-0.5, rows - 0.5], "line": line, "hoverinfo": "skip"}


def _bars(values: Sequence[float], intervals: Sequence[Interval], colour: str) -> Drawing:
    """Interval bars; none where an end is not known, as so few items bound nothing."""
    reach = [
        (i.high - v, v - i.low) if math.isfinite(i.high - i.low) else (0, 0)
        for v, i in zip(values, intervals, strict=True)
    ]
    return {"type": "data", "symmetric": False, "array": [up for up, _ in reach], "color": colour, "thickness": 2.5,
            "arrayminus": [down for _, down in reach], "width": 6}  # fmt: skip


def _unbounded(interval: Interval) -> bool:
    return not math.isfinite(interval.high - interval.low)


def interval_text(interval: Interval, likelihood: bool, *, signed: bool = False) -> str:
    """`23.3 to 36.4`; `no bounds` where so few items give none."""
    return "no bounds" if _unbounded(interval) else shown_interval(interval, likelihood, signed=signed)


def _named_once(data: Sequence[Drawing]) -> list[Drawing]:
    """Traces with one entry in the legend for each name."""
    named: set[str] = set()
    found = []
    for trace in data:
        name = trace.get("name", "")
        found.append({**trace, "legendgroup": name, "showlegend": bool(name) and name not in named})
        named.add(name)
    return found


# --- values ------------------------------------------------------------------------------------------------------


def scores(table: Table, dark: bool) -> "go.Figure":
    """What each subject scored on each set: a dot with its 95 % interval, a panel a set, the base as a line.

    The paper's figures have a mark of their own, chance a dotted line.
    """
    shown = answered_sets(table)
    panels, data = [], []
    for at, column in enumerate(shown):
        answers = _answers(table, column)
        n = answers[0][1].estimate.n
        panels.append(
            (f"{set_title(column)}\nn = {n}", [one.subject.title for _, one in answers], _value_axis(table, column))
        )
        data += list(_value_traces(table, column, at, answers, dark))
    return build_figure(_named_once(data), _stacked(panels), dark=dark)


def _value_axis(table: Table, column: Column) -> Drawing:
    """The same for all sets with right answers; likelihoods run backwards, each over its own range."""
    if column.likelihood:
        return {"title": {"text": "nats per token, lower is better"}, "autorange": "reversed"}
    far = max(100 * one.estimate.interval.high for one in table.answered.values() if not one.likelihood)
    return {"title": {"text": "right answers (%), higher is better"}, "range": [-2, min(102, far + 5)]}


def _value_traces(
    table: Table, column: Column, at: int, answers: Sequence[tuple[str, Answered]], dark: bool
) -> Iterator[Drawing]:
    unit = 1 if column.likelihood else 100
    base = table.answered.get((table.base.name, column.name))
    rows = {name: row for row, (name, _) in enumerate(answers)}
    if base is not None:
        line = {"color": INK[dark], "width": 1.5, "dash": "dash"}
        yield _upright(at, unit * base.estimate.value, len(rows), line) | {"name": "base"}
    chance = answers[0][1].cells[0].chance
    if chance is not None and not column.likelihood:
        yield _upright(at, 100 * chance, len(rows), {"color": MUTED[dark], "width": 2, "dash": "dot"}) | {
            "name": "chance"}  # fmt: skip
    estimates = [one.estimate for _, one in answers]
    points = [unit * one.value for one in estimates]
    intervals = [Interval(unit * one.interval.low, unit * one.interval.high) for one in estimates]
    yield {
        **_on(at), "x": points, "y": list(rows.values()), "name": "score, 95 % interval",
        "marker": {"size": 10, "color": KEY[dark]}, "error_x": _bars(points, intervals, KEY[dark]),
        "text": [_value_hover(one, column) for _, one in answers], "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    paper = [(rows[name], figure) for name, one in answers
             if (figure := reported(table.recipe.model, role(one.subject), column.name)) is not None]  # fmt: skip
    if paper:
        unit_text = "nats" if column.likelihood else "%"
        yield {
            **_on(at), "x": [figure for _, figure in paper], "y": [row for row, _ in paper], "name": "the paper's",
            "marker": {"size": 12, "symbol": "diamond-open", "color": VALUE[dark], "line": {"width": 2.5}},
            "hovertemplate": f"the paper's figure: %{{x}} {unit_text}, {ITEMS} items<extra></extra>",
        }  # fmt: skip


def _value_hover(one: Answered, column: Column) -> str:
    seeds = f", {one.estimate.seeds} seeds" if one.estimate.seeds > 1 else ""
    ends = interval_text(one.estimate.interval, column.likelihood)
    return (f"<b>{plotly_text(one.subject.title)}</b>, {plotly_text(set_title(column))}<br>"
            f"{shown_value(one.estimate.value, column.likelihood)}, 95 % interval {ends}<br>"
            f"n = {one.estimate.n}{seeds}, {plotly_text(one.estimate.method)}")  # fmt: skip


def scores_alt(table: Table) -> str:
    """The chart in a sentence for each set."""
    said = []
    for column in answered_sets(table):
        scores = [f"{one.subject.title} {shown_value(one.estimate.value, column.likelihood)}"
                  for _, one in _answers(table, column)]  # fmt: skip
        said.append(f"{set_title(column)}: {', '.join(scores)}")
    return f"Scores with 95 % intervals. {'; '.join(said)}."


# --- differences -------------------------------------------------------------------------------------------------


def differences(table: Table, dark: bool) -> "go.Figure":
    """Subject − base with its 95 % interval, a panel a set, a line at zero; the mark says what it shows.

    The axis of likelihoods runs backwards, so that better is on the right everywhere.
    """
    panels, data = [], []
    for at, column in enumerate(compared_sets(table)):
        claims = _claims(table, column)
        n = claims[0][1].difference.n
        panels.append((f"{set_title(column)}\nn = {n}", [one.subject for _, one in claims],
                       _change_axis(table, column)))  # fmt: skip
        data.append(_upright(at, 0, len(claims), {"color": INK[dark], "width": 1.5}))
        data += list(_change_traces(column, at, claims, dark))
    return build_figure(_named_once(data), _stacked(panels), dark=dark)


def _change_axis(table: Table, column: Column) -> Drawing:
    """Zero in the middle, the same for all sets in points and all in nats, and never so narrow that noise looks big."""
    unit, least = (1, LEAST_NATS) if column.likelihood else (100, 100 * LEAST_POINTS)
    claims = [one for one in table.claims.values() if one.lower_is_better == column.likelihood]
    ends = [abs(unit * end) for one in claims for end in
            (one.difference.effect, one.difference.interval.low, one.difference.interval.high)]  # fmt: skip
    far = 1.08 * max([least, *(end for end in ends if math.isfinite(end))])
    unit_text = "nats per token" if column.likelihood else "percentage points"
    return {"title": {"text": f"difference to base, better →<br>({unit_text})"},
            "range": [far, -far] if column.likelihood else [-far, far]}  # fmt: skip


def _change_traces(column: Column, at: int, claims: Sequence[tuple[str, Claim]], dark: bool) -> Iterator[Drawing]:
    unit = 1 if column.likelihood else 100
    for word, (colours, symbol) in LOOKS.items():
        mine = [(row, one) for row, (_, one) in enumerate(claims) if one.headline == word]
        if not mine:
            continue
        found = [one.difference for _, one in mine]
        points = [unit * one.effect for one in found]
        intervals = [Interval(unit * one.interval.low, unit * one.interval.high) for one in found]
        yield {
            **_on(at), "x": points, "y": [row for row, _ in mine], "name": f"{MARKS[word]} {word}",
            "marker": {"size": 12, "symbol": symbol, "color": colours[dark]},
            "error_x": _bars(points, intervals, colours[dark]),
            "text": [claim_hover(one, column) for _, one in mine], "hovertemplate": "%{text}<extra></extra>",
        }  # fmt: skip


def claim_hover(one: Claim, column: Column) -> str:
    """All numbers of a comparison, a line each, as plotly shows them."""
    found, low = one.difference, one.lower_is_better
    least = (
        ""
        if math.isinf(found.minimum_detectable)
        else (f"<br>could have been seen: {shown_change(found.minimum_detectable, low).removeprefix('+')} or more")
    )
    return (f"<b>{plotly_text(one.subject)}</b>, {plotly_text(set_title(column))}<br>"
            f"{MARKS[one.headline]} {one.headline}: {shown_change(found.effect, low)}, 95 % interval "
            f"{interval_text(found.interval, low, signed=True)}<br>n = {found.n}, p {shown_p(found.p)}, after Holm "
            f"{shown_p(one.p_adjusted)} ({plotly_text(found.test)})<br>"
            f"{items_changed(one)}{least}")  # fmt: skip


def items_changed(one: Claim) -> str:
    """How many items came out better and worse; of likelihoods better is a lower score."""
    found = one.difference
    better, worse = (found.lost, found.gained) if one.lower_is_better else (found.gained, found.lost)
    return f"{better} better, {worse} worse, {found.n - better - worse} as the base"


def differences_alt(table: Table) -> str:
    """The chart in a sentence for each set."""
    said = []
    for column in compared_sets(table):
        found = [f"{one.subject} {shown_change(one.difference.effect, column.likelihood)} ({one.headline})"
                 for _, one in _claims(table, column)]  # fmt: skip
        said.append(f"{set_title(column)}: {', '.join(found)}")
    return f"Differences to the base with 95 % intervals. {'; '.join(said)}."


def differences_table(table: Table) -> list[dict[str, str]]:
    """The table twin: a row for each comparison."""
    return [
        {
            "Set": set_title(column), "Arm": one.subject, "Shows": f"{MARKS[one.headline]} {one.headline}",
            "Difference to base": shown_change(one.difference.effect, column.likelihood),
            "95 % interval": interval_text(one.difference.interval, column.likelihood, signed=True),
            "p": shown_p(one.difference.p), "p after Holm": shown_p(one.p_adjusted), "n": str(one.difference.n),
            "Items": items_changed(one), "Test": one.difference.test,
        }
        for column in compared_sets(table) for _, one in _claims(table, column)
    ]  # fmt: skip
