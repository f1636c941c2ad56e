"""The spectrum's report of the recorded captures: what it says, and that what it offers to run says it again."""

import dataclasses
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from app.jobs.captures import load_saved
from app.reports import buttons
from app.reports.blocks import ReportFigure, ReportTable
from app.reports.chosen import InHand
from app.reports.origins import capture_command, capture_facts, spectrum_program
from app.reports.page import report_html
from app.reports.spectrum import spectrum_section
from app.ui.session import Selection
from spd_core.cli.main import app
from spd_core.subspace.verdict import spectrum_verdict
from tests import ROOT


@pytest.fixture(scope="module")
def held() -> InHand:
    return InHand(load_saved("arithmetic"), Selection(29, "value"), 96)


def test_it_says_what_the_page_says(held: InHand) -> None:
    section = spectrum_section(held, ("shuffled answers", "bootstrap band"))
    assert section.verdict == spectrum_verdict(held.analysis, 29, "value", 96)
    figures = [block.name for block in section.blocks if isinstance(block, ReportFigure)]
    assert figures == ["cumulative-energy", "singular-values", "ratio-to-null", "overlap", "gradient-rows"]
    (table,) = (block for block in section.blocks if isinstance(block, ReportTable))
    assert [row[0] for row in table.rows] == ["layer 15 key", "layer 15 value", "layer 29 key", "layer 29 value"]
    assert all(row[1] == "96" and row[2].endswith("%") for row in table.rows)


def test_the_file_is_small_and_names_what_made_it(held: InHand) -> None:
    page = report_html(buttons.of_capture(held, "Spectrum", [spectrum_section(held, ("shuffled answers",))]))
    assert len(page) < 6_000_000
    record = held.analysis.provenance
    for said in (record.fingerprint, record.revision, held.analysis.identity, "torch", "captured in"):
        assert said.encode() in page


def test_a_name_of_a_direction_is_no_tag(held: InHand) -> None:
    named = dataclasses.replace(held, names={(29, "value", 0): "</script><b>"})
    page = report_html(buttons.of_capture(named, "Spectrum", [spectrum_section(named, ())])).decode()
    assert "</script><b>" not in page
    assert "“&lt;/script&gt;&lt;b&gt;”" in page


def test_the_program_says_it_again(held: InHand) -> None:
    code = spectrum_program(held)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, *_ = done.stdout.splitlines()
    assert first == spectrum_verdict(held.analysis, 29, "value", 96)


def test_the_command_is_one_that_the_shell_knows(held: InHand) -> None:
    words = capture_command(held.analysis.provenance).split()[3:]
    assert words[:3] == ["capture", "--capability", "arithmetic"]
    refused = CliRunner().invoke(app, [*words[:1], *words[1:], "--limit", "0"])
    assert refused.exit_code == 2
    assert "'--limit'" in refused.output, "the only word of it that is refused"


def test_facts_tell_sizes_and_hashes(held: InHand) -> None:
    facts = dict(capture_facts(held))
    assert facts["Examples"] == "50 examples of 50 asked for; 1,210 tokens, 79 of them carry the loss"
    assert facts["Sites"].startswith("keys and values of layers 15, 29, 192 numbers a token")
