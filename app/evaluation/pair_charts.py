"""Differences between two evaluations: a figure, and rows of its table. Pure: no Streamlit."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.ui.difference_charts import LEAST_NATS, LEAST_POINTS, LOOKS
from app.ui.figures import INK, Drawing, build_figure, plotly_text
from app.ui.set_panels import interval_bars, interval_text, named_once, on_panel, stacked_panels, upright_line
from spd_core.evaluation.claims import Headline, headline
from spd_core.evaluation.compared import SharedCell
from spd_core.evaluation.report import MARKS, change_text, shown_p, shown_value
from spd_core.evaluation.statistics import Interval
from spd_core.evaluation.table import Answered

if TYPE_CHECKING:
    import plotly.graph_objects as go

_WORDS = {"helps": "better", "hurts": "worse", "not shown": "not shown"}


def shows(one: SharedCell) -> Headline:
    """What a pair shows, by the rule of all claims."""
    if one.difference is None or one.p_adjusted is None:
        return "not shown"
    return headline(one.difference, one.p_adjusted, one.first.likelihood)


def pair_differences(pairs: Sequence[SharedCell], dark: bool) -> "go.Figure":
    """Second − first with 95% intervals, a panel a set; better is on the right everywhere. All pairs have one."""
    sets = list(dict.fromkeys(one.first.cells[0].set for one in pairs))
    panels, data = [], []
    for at, name in enumerate(sets):
        mine = [one for one in pairs if one.first.cells[0].set == name]
        low = mine[0].first.likelihood
        unit = 1 if low else 100
        found = [one.difference for one in mine if one.difference is not None]
        n = ", ".join(dict.fromkeys(str(one.n) for one in found))
        far = _farthest([one for one in pairs if one.first.likelihood == low], unit)
        axis: Drawing = {
            "title": {"text": f"other − this, better →<br>({'nats per token' if low else 'percentage points'})"},
            "range": [far, -far] if low else [-far, far],
        }
        panels.append((f"{mine[0].first.cells[0].title}\nn = {n}", [_who(one) for one in mine], axis))
        data.append(upright_line(at, 0, len(mine), {"color": INK[dark], "width": 1.5}))
        data += _marks(at, mine, unit, dark)
    kinds = {shows(one) for one in pairs}
    return build_figure(named_once(data), stacked_panels(panels, legend=len(kinds) > 1), dark=dark)


def _farthest(pairs: Sequence[SharedCell], unit: int) -> float:
    """How far an axis reaches: the same for all sets of a unit, and never so narrow that noise looks big."""
    least = LEAST_NATS if unit == 1 else 100 * LEAST_POINTS
    found = [one.difference for one in pairs if one.difference is not None]
    ends = (abs(unit * end) for one in found for end in (one.effect, one.interval.low, one.interval.high))
    return 1.08 * max([least, *(end for end in ends if math.isfinite(end))])


def _marks(at: int, pairs: Sequence[SharedCell], unit: int, dark: bool) -> list[Drawing]:
    marks = []
    for word, (colours, symbol) in LOOKS.items():
        mine = [
            (row, one, one.difference)
            for row, one in enumerate(pairs)
            if shows(one) == word and one.difference is not None
        ]
        if not mine:
            continue
        points = [unit * found.effect for _, _, found in mine]
        intervals = [Interval(unit * found.interval.low, unit * found.interval.high) for _, _, found in mine]
        marks.append(
            {
                **on_panel(at),
                "x": points,
                "y": [row for row, *_ in mine],
                "name": _WORDS[word],
                "marker": {"size": 12, "symbol": symbol, "color": colours[dark]},
                "error_x": interval_bars(points, intervals, colours[dark]),
                "text": [plotly_text(one.sentence) for _, one, _ in mine],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return marks


def _who(one: SharedCell) -> str:
    return " / ".join(dict.fromkeys((one.first.subject.title, one.second.subject.title)))


def pair_differences_alt(pairs: Sequence[SharedCell]) -> str:
    """The chart in a sentence for each pair."""
    return " ".join(one.sentence for one in pairs)


def pair_rows(pairs: Sequence[SharedCell]) -> list[dict[str, str]]:
    """Rows of the table, without the columns that say nothing of any pair."""
    rows = list(map(_row, pairs))
    told = {name for row in rows for name, text in row.items() if text != "–"}
    return [{name: text for name, text in row.items() if name in told} for row in rows]


def _row(one: SharedCell) -> dict[str, str]:
    low = one.first.likelihood
    word = "the same subject" if one.same_subject else f"{MARKS[shows(one)]} {_WORDS[shows(one)]}"
    return {
        "Set": one.first.cells[0].title,
        "Subject": _who(one),
        "Shows": "–" if one.difference is None else word,
        "This": _score(one.first),
        "Other": _score(one.second),
        "Difference": "–" if one.difference is None else change_text(one.difference, low),
        "p after Holm": "–" if one.p_adjusted is None else shown_p(one.p_adjusted),
        "Note": one.why or "–",
    }


def _score(one: Answered) -> str:
    ends = interval_text(one.estimate.interval, one.likelihood)
    return f"{shown_value(one.estimate.value, one.likelihood)} ({ends})"
