"""What the version before the packages has saved (`tests/saved`, made by its pages and commands) opens everywhere."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.ui import session
from spd_core.distill.recall import recalled
from spd_core.distill.trained import trained_by
from spd_core.evaluation.cells import read_cell
from spd_core.evaluation.subjects import adapter_that_answered
from spd_core.evaluation.table import read_table
from spd_core.generation import comparison as texts
from spd_core.intervention.adapters import saved_adapter
from spd_core.intervention.cards import finished_adapters
from spd_core.runs.folder import Run, all_runs, open_run
from spd_core.runs.states import state_of
from spd_core.subspace.store import capture_at, open_capture, saved_captures
from spd_core.subspace.subspace import subspace_of
from tests import ROOT
from tests.app.test_pages import go_to, prepared, text_of
from tests.waiting import LONG

BY_PAGE = "20261125-005323-arithmetic-059ecce"
DISTILLED, EVALUATED = "20261125-005334-arithmetic-2ffa9f0", "20261125-005401-arithmetic-10d8e3b"
PAGES = (session.HOME, session.SPECTRUM, session.ATTRIBUTIONS, session.SIDE_BY_SIDE, session.FINE_TUNE,
         session.EVALUATION)  # fmt: skip


@pytest.fixture(autouse=True)
def home(spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That home, unpacked; the shell's capture stands among the page's, too."""
    with tarfile.open(ROOT / "tests" / "saved" / "home-before-packages.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "models").symlink_to(spd_home / "models")
    shutil.copytree(tmp_path / "by-shell", tmp_path / "captures" / "by-shell")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    return tmp_path


def opened(page: Path, **link: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    at.query_params.update(link)
    at.run()
    return prepared(go_to(at, page))


@pytest.mark.builtin
@pytest.mark.parametrize("capture", [BY_PAGE, "by-shell"])
@pytest.mark.parametrize("place", PAGES, ids=lambda place: place.stem)
def test_every_page_opens_with_captures_of_both_kinds(place: Path, capture: str) -> None:
    at = opened(place, **{session.CAPTURE: capture})
    assert [error.value for error in at.error] == []
    assert at.session_state[session.CAPTURE] == capture
    shown = text_of(at)
    assert "no valid capture" not in shown
    if place in PAGES[1:4]:
        assert "arithmetic" in shown
        assert "SmolLM2-135M-Instruct" in shown


def test_captures_of_both_kinds_are_what_they_were(home: Path) -> None:
    assert set(saved_captures()) == {BY_PAGE, "by-shell"}
    by_page, by_shell = open_capture(BY_PAGE), capture_at(str(home / "by-shell"))
    assert (by_page.provenance.examples_used, len(by_page.examples), by_page.layers) == (6, 6, [29])
    assert (by_shell.provenance.examples_used, by_shell.layers, by_shell.capability.name) == (6, [29], "arithmetic")
    first, second = subspace_of(by_page), subspace_of(by_shell)
    assert first.provenance.ranks == second.provenance.ranks, "as many as are not rounding in bfloat16"
    for site in first.sites:  # the same examples, captured twice
        overlap = (first.basis[site].T @ second.basis[site]).norm() ** 2
        assert float(overlap) / first.basis[site].shape[1] == pytest.approx(1, abs=0.02)


@pytest.mark.builtin
def test_texts_runs_and_tables_open(home: Path) -> None:
    found = [texts.load_comparison(path.stem) for path in sorted((home / "texts").glob("*.json"))]
    assert [lane.label for lane in found[0].lanes] == ["Raw", "Projected", "Complement", "Random subspace"]
    assert [lane.spec.kind for lane in found[0].lanes] == ["raw", "projected", "complement", "random subspace"]
    assert {lane.spec.capture for lane in found[0].lanes} == {""}
    assert found[1].lanes[2].spec.adapter == f"{DISTILLED}/spd"
    for one in found:
        at = opened(session.SIDE_BY_SIDE, **{session.CAPTURE: BY_PAGE, session.WRITTEN: one.id})
        assert [error.value for error in at.error] == []
    runs = {run.id: run for run in all_runs() if isinstance(run, Run)}
    assert {name: state_of(run) for name, run in runs.items()} == {DISTILLED: "done", EVALUATED: "done"}
    assert [card.ref for card in finished_adapters()] == [f"{DISTILLED}/spd", f"{DISTILLED}/ssd"]
    assert saved_adapter(f"{DISTILLED}/spd").card.rows > 0
    assert trained_by(runs[DISTILLED].record.distillation) == {}, "it did not say what its names meant"
    table = read_table(runs[EVALUATED].record.evaluation, runs[EVALUATED].folder)
    assert (table.done, table.planned) == (5, 5)
    assert all(len(one.items[0]) == 6 for one in table.answered.values())
    tries = (
        (session.FINE_TUNE, session.RUN, DISTILLED, "Two arms"),
        (session.EVALUATION, session.EVALUATION_RUN, EVALUATED, "A small table"),
    )
    for place, key, run, title in tries:
        at = opened(place, **{key: run})
        assert [error.value for error in at.error] == []
        assert title in text_of(at)


@pytest.mark.builtin
@pytest.mark.slow
@pytest.mark.parametrize(("program", "lanes"), [("snippet.py", 4), ("snippet-adapter.py", 3)])
def test_programs_that_were_exported_run_on(program: str, lanes: int, home: Path) -> None:
    done = subprocess.run([sys.executable, str(home / program)], cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("--- ") == lanes


def test_what_an_adapter_of_before_has_seen_is_known_by_its_run(home: Path) -> None:
    """Its card did not say; its corpora and captures lie in the run."""
    for card in (card for card in finished_adapters() if card.run == DISTILLED):
        assert (card.calibrated, card.trained, saved_adapter(card.ref).seen) == (None, None, None)
        found = recalled(card.run, card.arm)
        assert found is not None
        recipe = open_run(DISTILLED).record.distillation
        written = recipe.corpus.prompts or 0
        assert len(found.trained) == written - recipe.corpus.held_out > 0
        assert len(found.calibrated) == (recipe.capture.examples if card.subspace else 0)
    assert recalled("20260101-gone", "spd") is None


def test_the_adapter_that_answered_a_table_of_before_is_found_by_its_weights(home: Path) -> None:
    found = read_cell(home / "runs" / EVALUATED, f"{DISTILLED}-spd", 42, "arithmetic")
    assert found is not None
    assert (found[0].adapter, adapter_that_answered(found[0])) == ("", f"{DISTILLED}/spd")
