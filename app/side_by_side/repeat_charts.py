"""Lanes over prompts and seeds, drawn: shares with their intervals, and a matrix of all texts. Pure: no Streamlit."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from app.ui.figures import GRID, INK, LANE_COLOURS, MUTED, Drawing, build_figure, plotly_text
from spd_core.evaluation.repeat_table import RepeatChange, RepeatRow, RepeatShare
from spd_core.evaluation.repeats import Repeat, RepeatedText, cell_id
from spd_core.generation.differences import first_divergence
from spd_core.text import opening, shown

if TYPE_CHECKING:
    import plotly.graph_objects as go

RIGHT, WRONG = ("#00704F", "#2BC79A"), ("#B84E00", "#E69F00")
_LOOKS = {True: ("right", "circle", RIGHT), False: ("wrong", "x", WRONG)}
_TEXTS = {True: ("differs from raw", "diamond-open", RIGHT), False: ("the same text as raw", "square", MUTED)}


def measures(repeat: Repeat) -> list[tuple[str, list[RepeatShare]]]:
    """What is drawn, with the share of each lane: right answers where they are known first."""
    rows, first = repeat.table.rows, repeat.lanes[0].label.lower()
    right = [row.right for row in rows if row.right is not None]
    return [
        *([("right", right)] if right else []),
        (f"differs from {first}", [row.differs for row in rows]),
        ("stopped at end of text", [row.ended for row in rows]),
    ]


# --- shares with intervals -----------------------------------------------------------------------------------


def shares_figure(repeat: Repeat, *, dark: bool = False) -> "go.Figure":
    """A dot with its 95% interval for each lane, measure below measure; raw never differs from itself."""
    data, notes, ticks = [], [], []
    at = 0.0
    for measure, shares in measures(repeat):
        notes.append(_heading(measure, at, dark))
        for lane, share in enumerate(shares):
            if measure.startswith("differs") and not lane:
                continue
            at -= 1
            label = repeat.lanes[lane].label
            ticks.append((at, _short(label)))
            data.append(_dot(share, at, LANE_COLOURS[lane % len(LANE_COLOURS)][dark], f"{label}: {measure}"))
        at -= 1.4
    layout = {
        "height": 60 + round(23 * -at),
        "showlegend": False,
        "annotations": notes,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "xaxis": {"range": [-0.02, 1.02], "tickformat": ".0%", "title": {"text": "share of texts"}},
        "yaxis": {
            "tickvals": [place for place, _ in ticks],
            "ticktext": [label for _, label in ticks],
            "range": [at + 0.8, 0.7],
            "showgrid": False,
            "zeroline": False,
        },
    }
    return build_figure(data, layout, dark=dark)


def _heading(text: str, at: float, dark: bool) -> Drawing:
    return {
        "text": f"<b>{plotly_text(text)}</b>",
        "x": 0,
        "y": at,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 6,
        "showarrow": False,
        "font": {"size": 13, "color": INK[dark]},
    }


def _dot(share: RepeatShare, at: float, colour: str, what: str) -> Drawing:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [share.value],
        "y": [at],
        "marker": {"size": 11, "color": colour},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [max(share.high - share.value, 0)],
            "arrayminus": [max(share.value - share.low, 0)],
            "color": colour,
            "thickness": 2,
            "width": 5,
        },
        "hovertemplate": f"{plotly_text(shown(what))}<br>{share_text(share)}<extra></extra>",
    }


def share_text(share: RepeatShare) -> str:
    """`9 of 24 (20–57%)`."""
    return f"{share.count} of {share.n} ({100 * share.low:.0f}–{100 * share.high:.0f}%)"


def change_text(change: RepeatChange) -> str:
    """`−4 points (−17 to 0)`."""
    value, low, high = (_points(one) for one in (change.value, change.low, change.high))
    return f"{value} points ({low} to {high})"


def _points(share: float) -> str:
    points = round(100 * share)
    return f"+{points}" if points > 0 else f"−{-points}" if points < 0 else "0"


def lane_rows(repeat: Repeat) -> list[dict[str, str]]:
    """The table: a row for each lane."""
    first = repeat.lanes[0].label.lower()
    return [
        {"Lane": shown(lane.label), **_numbers(row, first, own=at == 0)}
        for at, (lane, row) in enumerate(zip(repeat.lanes, repeat.table.rows, strict=True))
    ]


def _numbers(row: RepeatRow, first: str, own: bool) -> dict[str, str]:
    return {
        "Right": "not known" if row.right is None else share_text(row.right),
        f"Right beyond {first}": "–" if row.beyond_raw is None else change_text(row.beyond_raw),
        f"Differs from {first}": "–" if own else share_text(row.differs),
        "First different token (median)": "–" if row.median_token is None else f"{row.median_token:g}",
        "Stopped at end of text": share_text(row.ended),
        "Degenerate": f"{row.degenerate.count} of {row.n}",
    }


# --- every text ----------------------------------------------------------------------------------------------


def matrix(repeat: Repeat, selected: tuple[int, int] | None, *, dark: bool = False) -> "go.Figure":
    """Prompts × seeds, a block for each lane: right or wrong, or, where nobody knows, whether the text is raw's.

    Args:
        selected: the prompt and the seed that are shown, counted from 0; their texts are framed in all lanes.
    """
    seeds, prompts = len(repeat.seeds), len(repeat.prompts)
    known = repeat.table.rows[0].right is not None
    looks = _LOOKS if known else _TEXTS
    marks: dict[bool, list[tuple[float, int, str, str]]] = {True: [], False: []}
    for x, y, cell, text, first in _cells(repeat):
        good = bool(text.right) if known else text.ids != first.ids
        marks[good].append((x, y, cell, _hover(repeat, y, text, first)))
    columns = seeds * len(repeat.lanes)
    size = 12 if columns <= 12 else 10 if columns <= 24 else 7
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": looks[good][0],
            "x": [one[0] for one in found],
            "y": [one[1] for one in found],
            "customdata": [one[2] for one in found],
            "text": [one[3] for one in found],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"symbol": looks[good][1], "size": size, "color": looks[good][2][dark]},
            "selected": {"marker": {"opacity": 1}},
            "unselected": {"marker": {"opacity": 1}},
        }
        for good, found in marks.items()
        if found
    ]
    starts = [_start(lane, seeds) for lane in range(len(repeat.lanes))]
    layout = {
        "height": 160 + 30 * prompts,
        "margin": {"l": 8, "r": 8, "t": 64, "b": 8},
        "legend": {"orientation": "h", "y": -52 / (30 * prompts + 8), "yanchor": "top", "x": 0},
        "xaxis": {
            "tickvals": [start + seed for start in starts for seed in range(seeds)],
            "ticktext": [str(seed) for _ in starts for seed in repeat.seeds],
            "range": [-0.8, starts[-1] + seeds - 0.2],
            "showgrid": False,
            "zeroline": False,
            "title": {"text": "seed"},
        },
        "yaxis": {
            "tickvals": list(range(prompts)),
            "ticktext": [plotly_text(label) for label in openings([one.prompt for one in repeat.prompts])],
            "range": [prompts - 0.4, -0.6],
            "gridcolor": GRID[dark],
            "zeroline": False,
        },
        "annotations": [
            _lane_name(repeat.lanes[lane].label, start + (seeds - 1) / 2) for lane, start in enumerate(starts)
        ],
        "shapes": [_frame(start + selected[1], selected[0], dark) for start in starts] if selected else [],
        "hoverdistance": -1,  # a click finds its text
    }
    return build_figure(data, layout, dark=dark)


def openings(prompts: Sequence[str], width: int = 22) -> list[str]:
    """How each prompt begins, in so many characters; the words that all begin with are left out where they fill it."""
    words = [one.split(" ") for one in prompts]
    alike = len(list(takewhile(lambda those: len(set(those)) == 1, zip(*words, strict=False))))
    if len(prompts) == 1 or 2 * len(" ".join(words[0][:alike])) <= width:
        return [opening(one, width) for one in prompts]
    return [f"…{opening(' '.join(one[alike:]), width - 1)}" for one in words]


def _start(lane: int, seeds: int) -> float:
    return lane * (seeds + 1.0)


def _cells(repeat: Repeat) -> Iterator[tuple[float, int, str, RepeatedText, RepeatedText]]:
    """Where each text stands, the id of its cell, it, and raw's text for the same prompt and seed."""
    for prompt, asked in enumerate(repeat.prompts):
        for seed, texts in enumerate(asked.texts):
            for lane, text in enumerate(texts):
                yield _start(lane, len(repeat.seeds)) + seed, prompt, cell_id(repeat.id, prompt, seed), text, texts[0]


def _hover(repeat: Repeat, prompt: int, text: RepeatedText, first: RepeatedText) -> str:
    fork = first_divergence(text.ids, first.ids)
    same = "the first lane's tokens" if fork is None else f"differs from {repeat.lanes[0].label} at token {fork + 1}"
    marked = {True: "right", False: "wrong", None: "not scored"}[text.right]
    asked = _wrapped(opening(repeat.prompts[prompt].prompt, 120))
    return f"{asked}<br><b>{marked}</b> · {plotly_text(shown(same))}<br>{_wrapped(opening(text.text.strip(), 160))}"


def _wrapped(text: str) -> str:
    return "<br>".join(plotly_text(line) for line in textwrap.wrap(text, 60)) or "∅"


def _lane_name(label: str, x: float) -> Drawing:
    return {
        "text": f"<b>{_short(label, 12, 3)}</b>",
        "x": x,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12},
    }


def _short(label: str, width: int = 26, lines: int = 2) -> str:
    """A lane's label in lines of at most so many characters."""
    return "<br>".join(map(plotly_text, textwrap.wrap(shown(label), width, max_lines=lines, placeholder="…")))


def _frame(x: float, y: int, dark: bool) -> dict[str, Any]:
    line = {"color": INK[dark], "width": 2}
    return {"type": "rect", "x0": x - 0.48, "x1": x + 0.48, "y0": y - 0.46, "y1": y + 0.46, "line": line}


def matrix_alt(repeat: Repeat) -> str:
    """The matrix in a sentence."""
    counts = ", ".join(
        f"{lane.label} {row.differs.count if row.right is None else row.right.count} of {row.n}"
        for lane, row in zip(repeat.lanes, repeat.table.rows, strict=True)
    )
    what = "right" if repeat.table.rows[0].right is not None else "different from the first lane"
    return f"Every prompt and seed, {what} or not, a block for each lane: {counts}. A click opens the text."
