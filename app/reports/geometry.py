"""The tokens of a capture as points along two directions, as a figure of a report. Pure: knows no session."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from app.attributions.geometry_charts import cloud_figure
from app.attributions.grouping import CLASS, IN_PLURAL, grouped
from app.reports.blocks import Block, ReportFigure
from app.reports.chosen import InHand
from app.reports.spectrum import MOST_POINTS
from app.ui.point_cloud import Axis
from app.ui.tokens import drawn_token
from spd_core.attribution.geometry import GRADIENTS, drawn_tokens, points_of
from spd_core.attribution.geometry_verdict import geometry_verdict, separation
from spd_core.subspace.spectrum import numerical_rank

if TYPE_CHECKING:
    from pandas import DataFrame


def geometry_figure(held: InHand, tokens: "DataFrame") -> Iterator[Block]:
    """Gradients along the selected direction and another, coloured by the class of the token; none of one direction.

    Args:
        tokens: of `tables.tokens_of`, all texts of the capture.
    """
    found, own = held.analysis.sites[held.site], held.at.direction
    most = min(held.analysis.kept_directions, numerical_rank(found.values, held.analysis.provenance.dtype))
    other = next((at for at in range(most) if at != own), None)
    if other is None:
        return
    points = points_of(found, GRADIENTS, (own, other), min(held.rank, most))
    visible = ~tokens.aside.to_numpy() if held.hide else np.ones(len(tokens), bool)
    rows = drawn_tokens(visible, MOST_POINTS)
    lengths = np.linalg.norm(points.values, axis=1)
    groups = grouped(CLASS, tokens, held.analysis, lengths, held.at.example)
    apart = separation(points.values[rows], groups.of[rows], tokens.example.to_numpy()[rows]) if len(rows) else None
    said = geometry_verdict(points, rows, GRADIENTS, IN_PLURAL[CLASS], apart)
    drawn = zip(tokens.text, tokens.continued, tokens.example, tokens.position, strict=True)
    names = [f"{drawn_token(text, more)}, text {e + 1}, position {t}" for text, more, e, t in drawn]
    axes = [Axis(f"along direction {at + 1} (g·u{at + 1}, nats per unit)", f"g·u{at + 1}") for at in (own, other)]
    yield ReportFigure(
        lambda dark: cloud_figure(points, axes, rows, groups, names, unit="nats per unit", strength=0.0, dark=dark),
        f"The gradient at every token along directions {own + 1} and {other + 1}, coloured by token class. {said}",
        f"{len(rows)} gradients along two directions. {said}",
        "geometry",
    )
