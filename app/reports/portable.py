"""Figures as data for the part of plotly.js that a report carries, once for both themes. Pure."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import plotly.graph_objects as go

Change: TypeAlias = tuple[list[str | int], Any]
"""Where in a figure, and what stands there."""

DRAWN = frozenset({"scatter", "bar", "heatmap"})
"""Of the kinds of traces that the figures of the app have, those that the report's plotly.js draws."""
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
"""The fonts of the app's pages are not in the file."""


def figure_data(draw: "Callable[[bool], go.Figure]") -> dict[str, Any]:
    """A figure for a light page, and what differs on a dark one.

    Returns:
        `figure` with `data` and `layout`, and `dark`: a list of `Change`.

    Raises:
        ValueError: a trace is of a kind that a report cannot draw.
    """
    light, dark = _portable(draw(False)), _portable(draw(True))
    return {"figure": light, "dark": [[path, value] for path, value in changes(light, dark)]}


def changes(before: Any, after: Any) -> Iterator[Change]:
    """The smallest parts that make `after` of `before`; what only `before` has is set to None."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            if name not in before:
                yield [name], after[name]
            else:
                yield from (([name, *path], value) for path, value in changes(before[name], after.get(name)))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from (([at, *path], value) for path, value in changes(old, new))
    elif before != after:
        yield [], after


def _portable(figure: "go.Figure") -> dict[str, Any]:
    """Plain JSON; WebGL, which the report's plotly.js has not, is drawn without it."""
    found = json.loads(figure.to_json())
    for trace in found["data"]:
        if trace["type"] == "scattergl":
            trace["type"] = "scatter"
        if trace["type"] not in DRAWN:
            raise ValueError(f"a report cannot draw a trace of the kind {trace['type']!r}, but {', '.join(DRAWN)}")
    layout = _with_font({name: value for name, value in found["layout"].items() if name not in _OF_THE_APP})
    return {"data": _with_font(found["data"]), "layout": layout}


_OF_THE_APP = ("template", "datarevision", "clickmode", "dragmode")
"""What only the app's pages need: a report has nothing to choose."""


def _with_font(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: FONT if name == "family" else _with_font(inside) for name, inside in value.items()}
    return [_with_font(inside) for inside in value] if isinstance(value, list) else value
