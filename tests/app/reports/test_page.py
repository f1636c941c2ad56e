"""A report as a file: every kind of block, with texts that would like to be more than text."""

import json
import re

import pytest

from app.reports.blocks import (
    Replay,
    Report,
    ReportClaims,
    ReportFigure,
    ReportLane,
    ReportLanes,
    ReportNote,
    ReportSection,
    ReportStrip,
    ReportTable,
    StripToken,
)
from app.reports.elements import hash_source
from app.reports.page import report_html
from app.ui.figures import build_figure, plotly_text
from tests.app.reports.test_elements import Scripts
from tests.test_templates import CLAIM, COMPACT, EVIL, Tags

FIGURE = ReportFigure(
    lambda dark: build_figure([{"type": "bar", "x": [plotly_text(EVIL)], "y": [1]}], {"height": 200}, dark=dark),
    EVIL, EVIL, EVIL,
)  # fmt: skip
BLOCKS = [
    FIGURE,
    ReportTable(EVIL, [EVIL, "n"], [[EVIL, "1,234"], ["b", "−5.0%"]]),
    ReportTable(EVIL, ["a"], [[EVIL]], folded=True),
    ReportStrip(EVIL, [StripToken(EVIL, -3, EVIL, ("loss",)), StripToken("b", 10, "t")], True, (EVIL, "1", EVIL), EVIL),
    ReportLanes(EVIL, EVIL, [ReportLane(EVIL, [(EVIL, "same"), (None, ""), (EVIL, "new")], False, [EVIL])], EVIL),
    ReportClaims(EVIL, [CLAIM, COMPACT]),
    ReportNote(EVIL),
]
WHOLE = Report(
    EVIL,
    EVIL,
    [ReportSection(EVIL, EVIL, f"{EVIL}. {EVIL}", BLOCKS, warnings=[EVIL]), ReportSection("b", "c?", "", [])],
    [(EVIL, EVIL)],
    [Replay(EVIL, EVIL)],
)


@pytest.fixture(scope="module")
def page() -> str:
    return report_html(WHOLE).decode()


def test_a_browser_reads_text_alone(page: str) -> None:
    found = Tags(page)
    assert not any(name.startswith("on") or name in ("style", "src") for name in found.attributes)
    assert found.tags.count("script") == 4, "the figure's data, two of ours and plotly"
    assert "<script>alert('1')</script>" in found.text.replace("▼", "")
    assert not re.search("[\x1b\u202e]", page)
    assert not {"iframe", "img", "link", "base", "form", "object"} & set(found.tags)


def test_the_policy_names_exactly_what_is_there(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    said = policy[1].replace("&#39;", "'")
    data, *programs = Scripts(page).found
    assert json.loads(data)["figure"]["data"][0]["x"] == [plotly_text(EVIL)]
    assert re.search(r"script-src ([^;]*);", said)[1].split() == [hash_source(one) for one in programs]  # type: ignore[index]
    styles = re.findall(r"<style[^>]*>(.*?)</style>", page, re.S)
    assert re.search(r"style-src ([^;]*);", said)[1].split() == [hash_source(one) for one in styles]  # type: ignore[index]
    assert page.index("http-equiv") < page.index("<style"), "a policy counts for what comes after it"


def test_figures_and_tables_are_counted_and_numbers_stand_flush_right(page: str) -> None:
    assert re.findall(r"<b>((?:Figure|Table) \d+)\.</b>", page) == ["Figure 1", "Table 1", "Table 2"]
    assert '<td class="number">1,234</td>' in page
    assert '<td class="number">−5.0%</td>' in page
    assert ReportTable("c", ["a", "b", "c"], [["layer 15 key", "1.5e-3", "x" * 40]]).looks == ["short", "number", ""]


def test_the_first_sentence_stands_in_the_list_of_contents() -> None:
    said = "Layer 29: 90.5% lies in 3. It may be luck. Or not"
    section = ReportSection("Spectrum", "How many?", said, [])
    assert (section.first, section.rest) == ("Layer 29: 90.5% lies in 3.", "It may be luck. Or not")
    page = report_html(Report("t", "s", [section], []))
    assert b'<a href="#part-1"><b>Spectrum</b> <span>Layer 29: 90.5% lies in 3.</span></a>' in page
    assert b"Replay this" not in page
    assert len(page) < 30_000, "without figures plotly is left out"
