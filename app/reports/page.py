"""A report as one HTML file: its blocks drawn by `assets/templates/report.html`, with the scripts that it may run."""

import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from app.reports.blocks import Block, Report, ReportFigure, ReportTable
from app.reports.elements import content_policy, json_element, script_element, style_element
from app.reports.portable import figure_data
from spd_core import __version__
from spd_core.storage import ASSETS
from spd_core.templates import render

PLOTLY = ASSETS / "plotly" / "plotly-cartesian-4.1.1.min.js"
"""The part of plotly.js that draws bars, curves and maps, of the version that the app's pages have."""
_HERE = Path(__file__).parent
_STYLE_OF_PLOTLY = "plotly.js-style-global"
"""By this name plotly finds looks that are there already, and adds none of its own, which the policy would refuse."""


def report_html(report: Report) -> bytes:
    """The report as a file: it opens without a network, asks nobody for anything, and follows the reader's theme.

    Raises:
        ValueError: a figure has a trace that the report's plotly.js does not draw.
    """
    numbered, figures = _numbered(report)
    looks, plotly_looks = _style("report.css"), _style("plotly.css", name=_STYLE_OF_PLOTLY, kind="no-inline-styles")
    paths = (_HERE / "before_plotly.js", PLOTLY, _HERE / "report.js") if figures else (_HERE / "report.js",)
    scripts = [_script(path) for path in paths]
    page = render(
        "report.html",
        report=report,
        sections=numbered,
        made=time.strftime("%Y-%m-%d %H:%M"),
        version=__version__,
        policy=content_policy([source for _, source in scripts], [looks[1], plotly_looks[1]]),
        styles=[looks[0], plotly_looks[0]],
        scripts=[*figures, *(element for element, _ in scripts)],
    )
    return page.encode()


def _numbered(report: Report) -> tuple[list[dict[str, Any]], list[Markup]]:
    """Sections with their blocks as the template takes them, and the data of all figures."""
    counts = {"figure": 0, "table": 0}
    data: list[Markup] = []

    def drawn(block: Block) -> dict[str, Any]:
        values: dict[str, Any] = {"kind": block.kind, "block": block}
        if block.kind in counts:
            counts[block.kind] += 1
            values["number"] = counts[block.kind]
        if isinstance(block, ReportFigure):
            data.append(json_element(f"figure-{counts['figure']}-data", figure_data(block.draw)))
        if isinstance(block, ReportTable):
            values["looks"] = block.looks
        return values

    sections = [
        {"at": f"part-{at}", "section": section, "blocks": [drawn(block) for block in section.blocks]}
        for at, section in enumerate(report.sections, 1)
    ]
    return sections, data


@lru_cache
def _script(path: Path) -> tuple[Markup, str]:
    return script_element(path.read_text("utf-8"))


@lru_cache
def _style(file: str, *, name: str = "report-looks", kind: str = "looks") -> tuple[Markup, str]:
    return style_element((_HERE / file).read_text("utf-8"), name=name, kind=kind)
