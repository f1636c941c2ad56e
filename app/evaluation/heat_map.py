"""The map of arms × sets: each cell says its difference to the base, its colour what is shown. Pure: no Streamlit."""

import textwrap
from typing import TYPE_CHECKING

from app.ui.difference_charts import claim_hover
from app.ui.figures import INK, KEY, VALUE, Drawing, build_figure, plotly_text
from app.ui.set_panels import compared_sets, row_label, set_title
from spd_core.evaluation.claims import Claim
from spd_core.evaluation.report import MARKS, shown_change
from spd_core.evaluation.table import Column, Table
from spd_core.recipes.evaluation import Subject
from spd_core.text import shown

if TYPE_CHECKING:
    import plotly.graph_objects as go

HeatCell = tuple[str, str]
"""Names of a subject and a set."""

_WORDY = 3  # sets beside each other whose cells have room for words, on a phone too
_NEUTRAL = ("#eef1f4", "#26313b")
_COLOURS = {"helps": KEY, "not shown": _NEUTRAL, "hurts": VALUE}
_LEVELS = {"hurts": -1, "not shown": 0, "helps": 1}


def rows_of(table: Table) -> list[Subject]:
    """The subjects that are compared: all but the base."""
    return [subject for subject in table.recipe.subjects if subject.kind != "base"]


def difference_map(table: Table, selected: HeatCell | None, dark: bool) -> "go.Figure":
    """Arms × sets: blue helps, orange hurts, and what is not shown has no colour, however large the difference is.

    The selected cell is framed. Squares that cannot be seen lie above the cells, since a heatmap does not tell which
    cell was clicked; their `customdata` are the names of subject and set.
    """
    columns, subjects = compared_sets(table), rows_of(table)
    places = [(row, at) for row in range(len(subjects)) for at in range(len(columns))]
    claims = {(row, at): table.claims.get((subjects[row].name, columns[at].name)) for row, at in places}
    z = [
        [None if (one := claims[row, at]) is None else _LEVELS[one.headline] for at in range(len(columns))]
        for row in range(len(subjects))
    ]
    steps = [_COLOURS[word][dark] for word in ("hurts", "not shown", "helps")]
    cells = {
        "type": "heatmap",
        "z": z,
        "zmin": -1.5,
        "zmax": 1.5,
        "colorscale": [[end / 3, colour] for at, colour in enumerate(steps) for end in (at, at + 1)],
        "xgap": 3,
        "ygap": 3,
        "hoverinfo": "skip",
        "showscale": False,
    }
    squares = {
        "type": "scatter",
        "mode": "markers",
        "opacity": 0,
        "marker": {"size": 50, "symbol": "square"},
        "x": [at for _, at in places],
        "y": [row for row, _ in places],
        "showlegend": False,
        "customdata": [[subjects[row].name, columns[at].name] for row, at in places],
        "text": [_hover(claims[place], subjects[place[0]], columns[place[1]]) for place in places],
        "hovertemplate": "%{text}<extra></extra>",
    }
    labels = {
        "type": "scatter",
        "mode": "text",
        "hoverinfo": "skip",
        "showlegend": False,
        "x": [at for _, at in places],
        "y": [row for row, _ in places],
        "text": [cell_label(claims[place], len(columns) <= _WORDY) for place in places],
        "textfont": {"color": [_text_colour(claims[place], dark) for place in places]},
    }
    return build_figure([cells, squares, labels], _layout(subjects, columns, selected), dark=dark)


def cell_label(one: Claim | None, wordy: bool) -> str:
    """What stands in a cell: `+3.1 points`, and below it its mark, in words where there is room."""
    if one is None:
        return "–"
    change = shown_change(one.difference.effect, one.lower_is_better)
    mark = MARKS[one.headline]
    return f"{change.partition(' ')[0]}<br>{mark} {one.headline}" if wordy else f"{change.partition(' ')[0]}<br>{mark}"


def _hover(one: Claim | None, subject: Subject, column: Column) -> str:
    title = f"<b>{plotly_text(shown(subject.title))}</b>, {plotly_text(set_title(column))}"
    return f"{title}<br>not there yet" if one is None else f"{claim_hover(one, column)}<br>click: look at its items"


def _layout(subjects: list[Subject], columns: list[Column], selected: HeatCell | None) -> Drawing:
    names = [subject.name for subject in subjects]
    sets = [column.name for column in columns]
    heads = ["<br>".join(map(plotly_text, _head(column))) for column in columns]
    layout: Drawing = {
        "height": 84 + 50 * len(subjects),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverdistance": -1,
        "xaxis": {
            "side": "top",
            "tickvals": list(range(len(sets))),
            "ticktext": heads,
            "showgrid": False,
            "zeroline": False,
            "range": [-0.5, len(sets) - 0.5],
            "tickangle": 0,
            "ticks": "",
        },
        "yaxis": {
            "tickvals": list(range(len(names))),
            "showgrid": False,
            "zeroline": False,
            "ticktext": [row_label(subject.title) for subject in subjects],
            "ticks": "",
            "range": [len(names) - 0.5, -0.5],
        },
    }
    if selected is not None and selected[0] in names and selected[1] in sets:
        row, at = names.index(selected[0]), sets.index(selected[1])
        frame = {"type": "rect", "x0": at - 0.48, "x1": at + 0.48, "y0": row - 0.45, "y1": row + 0.45}
        layout["shapes"] = [  # dark around light: seen on any cell
            frame | {"line": {"color": colour, "width": wide}} for colour, wide in ((INK[0], 6), ("#ffffff", 2.5))
        ]
    return layout


def _head(column: Column) -> list[str]:
    """A set's title in two short lines, and whose domain it is of."""
    lines = textwrap.wrap(shown(column.title), 14, max_lines=2, placeholder="…")
    return [*lines, "in-domain" if column.in_domain else "out-of-dom."]


def difference_map_alt(table: Table) -> str:
    """The map in a sentence."""
    counts = {word: sum(one.headline == word for one in table.claims.values()) for word in MARKS}
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"Map of differences to the base: {len(rows_of(table))} arms by {len(compared_sets(table))} sets. {said}."


# --- colours -----------------------------------------------------------------------------------------------------


def _text_colour(one: Claim | None, dark: bool) -> str:
    """Black or white, whichever is easier to read on the cell; elsewhere the page's own ink."""
    if one is None or one.headline == "not shown":
        return INK[dark]
    light = _luminance(_COLOURS[one.headline][dark])
    return "#000000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#ffffff"


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
