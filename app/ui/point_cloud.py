"""The point cloud: a Streamlit component of its own, which turns and moves many points in the browser alone.

Plotly's 3D points send no clicks to Streamlit, and its frames carry every point once for each strength; here a strength
is one number on the graphics card. Text reaches the page through `textContent` alone. Looks are in `point_cloud.css`.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app.ui.figures import GRID
from app.ui.tokens import drawn_token
from spd_core.attribution.geometry import Points
from spd_core.data.spans import Encoded
from spd_core.templates import FOLDER

SHAPES = ("circle", "diamond", "triangle", "square", "plus", "cross")
"""One a group: nothing is told by colour alone. As in `point_cloud_paint.js`."""
_STEPS = (
    ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#d6c25a", "#e8d23f"),
    ("#3f6fb5", "#4f78a8", "#5f8199", "#70898a", "#82927d", "#969b71", "#aca465", "#c4ae58", "#deb94a", "#fee838"),
)
STEPS: "tuple[Look, ...]" = tuple((ink, SHAPES[0]) for ink in zip(*_STEPS, strict=True))
"""For numbers, a colour a tenth: Cividis on a light page, and from further up on a dark one."""


@dataclass(frozen=True)
class Grouped:
    """What points are coloured by.

    Attributes:
        names: of the groups.
        of: [M] the group of every token.
        looks: colour on a light and on a dark page, and shape, of each group.
        ordered: what the first and the last group mean, where groups are steps of a number.
    """

    names: tuple[str, ...]
    of: NDArray[np.int64]
    looks: "tuple[Look, ...]"
    ordered: tuple[str, str] | None = None

    def colours(self, dark: bool) -> list[str]:
        """One a group."""
        return [ink[dark] for ink, _ in self.looks]

    @property
    def shapes(self) -> list[str]:
        """One a group."""
        return [shape for _, shape in self.looks]


Look = tuple[tuple[str, str], str]


@dataclass(frozen=True)
class CloudLine:
    """A line through 0 in the picture.

    Attributes:
        end: where it ends, along each axis.
        name: what is written at its end; any text.
        colour: on the page as it is.
        width: in pixels.
        both: whether it goes as far to the other side; else it is an arrow.
    """

    end: tuple[float, ...]
    name: str
    colour: str
    width: float = 2
    both: bool = False


@dataclass(frozen=True)
class Axis:
    """How an axis is called: in full, and in a few letters."""

    title: str
    short: str


def cloud_data(
    points: Points,
    axes: Sequence[Axis],
    rows: NDArray[np.int64],
    groups: Grouped,
    examples: Sequence[Encoded],
    *,
    unit: str,
    selected: int,
    strength: float | None,
    label: str,
    lines: Sequence[CloudLine] = (),
    even: bool = False,
    dark: bool = False,
) -> dict[str, Any]:
    """What the component draws.

    Args:
        axes: a name for each axis of `points`.
        rows: the tokens that are drawn.
        examples: all texts, whose tokens are the rows of `points` in order.
        selected: a token.
        strength: of the projection; None where there is no slider for it.
        even: a length is as long along each axis, and 0 is in the middle.
    """
    values = points.values[rows]
    reach = 1.04 * (float(np.abs(values).max(initial=0)) or 1.0)
    return {
        "axes": [
            {
                "title": axis.title,
                "short": axis.short,
                "values": _packed(values[:, at], np.float32),
                "ends": [-reach, reach] if even else _ends(values[:, at]),
                "shrinks": bool(points.shrinks[at]),
            }
            for at, axis in enumerate(axes)
        ],
        "view": " ".join(axis.short for axis in axes),
        "rows": _packed(rows, np.uint32),
        "groups": _packed(groups.of[rows], np.uint8),
        "names": list(groups.names),
        "colours": groups.colours(dark),
        "shapes": groups.shapes,
        "ordered": groups.ordered,
        "texts": [
            {
                "name": example.id,
                "tokens": [
                    drawn_token(example.text[start:end], example.continues(t)).replace("\n", "")
                    for t, (start, end) in enumerate(example.offsets)
                ],
            }
            for example in examples
        ],
        "unit": unit,
        "grid": GRID[dark],
        "selected": selected,
        "strength": strength,
        "label": label,
        "even": even,
        "lines": [
            {"end": list(one.end), "name": one.name, "colour": one.colour, "width": one.width, "both": one.both}
            for one in lines
        ],
    }


def _packed(values: Any, kind: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def _ends(column: Any) -> list[float]:
    """From the least to the largest value, 0 in between: there points go when they are projected away."""
    low, high = min(float(column.min(initial=0)), 0.0), max(float(column.max(initial=0)), 0.0)
    wide = (high - low) or 1.0
    return [low - 0.04 * wide, high + 0.04 * wide]


_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "spd_point_cloud",
    html=(FOLDER / "point_cloud.html").read_text("utf-8"),
    css=(_HERE / "point_cloud.css").read_text("utf-8"),
    js="\n".join((_HERE / name).read_text("utf-8") for name in ("point_cloud_paint.js", "point_cloud.js")),
)


def point_cloud(
    data: dict[str, Any],
    *,
    key: str,
    on_pick: Callable[[int], None],
    on_strength: Callable[[float], None] = lambda strength: None,
) -> None:
    """Draw the points; `on_pick` gets the token that was clicked, `on_strength` where the slider was let go."""

    def picked() -> None:
        row = st.session_state[key].picked
        if isinstance(row, int | float) and 0 <= row < sum(len(text["tokens"]) for text in data["texts"]):
            on_pick(int(row))

    def moved() -> None:
        strength = st.session_state[key].strength
        if isinstance(strength, int | float) and 0 <= strength <= 1:
            on_strength(float(strength))

    _COMPONENT(key=key, data=data, on_picked_change=picked, on_strength_change=moved)
