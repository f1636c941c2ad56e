"""The lesson's cloud of gradients, which can be turned, with the directions and a line through it."""

from typing import TYPE_CHECKING

import numpy as np

from app.lesson import numbers
from app.ui import session
from app.ui.figures import INK, KEY, MUTED
from app.ui.figures import VALUE as LINE
from app.ui.point_cloud import Axis, CloudLine, Grouped, cloud_data, point_cloud
from app.ui.widgets import caption, is_dark
from spd_core.attribution.geometry import drawn_tokens
from spd_core.subspace.spectrum import Floats

if TYPE_CHECKING:
    from spd_core.attribution.geometry import Points
    from spd_core.models.families import Site
    from spd_core.subspace.analysis import Analysis

UNIT = "nats per unit"
MOST_IN_CLOUD = 20_000
"""Tokens of the cloud."""


def draw_cloud(analysis: "Analysis", site: "Site", degrees: int) -> None:
    """All gradients along the first three directions, lengths alike along each, and the line that is turned.

    Raises:
        InputError: the capture kept no single tokens.
    """
    points, at = numbers.cloud(analysis, site), session.selection(analysis)
    here = analysis.rows_of(at.example).start + at.token
    rows = drawn_tokens(np.ones(len(points.values), bool), MOST_IN_CLOUD, always=here)
    axes = [Axis(f"along direction {axis + 1} ({UNIT})", f"along direction {axis + 1}") for axis in points.axes]
    data = cloud_data(
        points,
        axes,
        rows,
        _groups(analysis),
        analysis.examples,
        unit=UNIT,
        selected=here,
        strength=None,
        label=f"{len(rows):,} gradients as points along {', '.join(axis.short for axis in axes)}, and a line "
        f"at {degrees}° from direction 1 towards direction 2. Arrow keys turn the picture, plus and minus zoom.",
        lines=directions_drawn(points, analysis.sites[site].values, degrees, is_dark()),
        even=True,
        dark=is_dark(),
    )

    def select(row: int) -> None:
        session.select(example=int(analysis.example_of[row]), token=int(analysis.position_of[row]))

    point_cloud(data, key=session.LESSON_CLOUD, on_pick=select)
    say_drawn(len(rows), len(points.values))


def say_drawn(drawn: int, tokens: int) -> None:
    """That a picture has not all tokens, if so."""
    if drawn < tokens:
        caption(f"{drawn:,} of {tokens:,} tokens are drawn, chosen at random; the sentence is on all.")


def _groups(analysis: "Analysis") -> Grouped:
    """Loss tokens, first positions, and all others."""
    of = np.where(analysis.position_of == 0, 1, 2)
    for example, encoded in enumerate(analysis.examples):
        of[analysis.rows_of(example).start + np.array(encoded.supervised)] = 0
    looks = ((KEY, "diamond"), (INK, "triangle"), (MUTED, "circle"))
    return Grouped(("loss token", "first position", "other token"), of, looks)


def directions_drawn(points: "Points", values: Floats, degrees: int, dark: bool) -> list[CloudLine]:
    """The directions as arrows, as long as the gradients vary along them, and the line that is turned.

    Args:
        values: [d_kv] the singular values.
    """
    reach, count = float(np.abs(points.values).max()) or 1.0, len(points.axes)
    ends = reach * np.eye(count) * (values[:count, None] / (values[0] or 1.0))
    turned = np.zeros(count)
    turned[:2] = reach * np.cos(np.deg2rad(degrees)), reach * np.sin(np.deg2rad(degrees))
    return [
        *(CloudLine(tuple(map(float, end)), f"direction {at}", INK[dark]) for at, end in enumerate(ends, 1)),
        CloudLine(tuple(map(float, turned)), f"{degrees}°", LINE[dark], 4, both=True),
    ]
