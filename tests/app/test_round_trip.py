"""A capture travels: page → shell → folded checkpoint → Evaluation, and from the shell back to the page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import capturing
from app.jobs.captures import load_saved
from app.jobs.job import Job
from app.jobs.models import ModelKey, ModelStore
from app.jobs.requests import CaptureRequest
from app.ui import session
from spd_core.data.capability import read_builtin
from spd_core.evaluation.cells import read_cell
from spd_core.evaluation.store import ItemRecord
from spd_core.recipes.capture import CaptureSettings
from spd_core.runs.folder import Run, all_runs
from tests import ROOT, shell
from tests.app.test_pages import go_to
from tests.waiting import LONG

run = shell.run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def captured_on_the_page(model: Path) -> str:
    """What a press of "Capture gradients" starts, without the press; the capture's name."""
    settings = CaptureSettings(layers="1,2", examples=6)
    request = CaptureRequest(ModelKey(str(model), None, "float32"), read_builtin("arithmetic"), settings, "raw")
    job = Job[Any, Any](lambda job: capturing.capture(job, request, ModelStore())).start()
    job.join(LONG)
    assert not job.error
    assert request.matches(load_saved(job.result.name))
    return str(job.result.name)


@pytest.mark.slow
def test_from_the_page_to_a_table_and_back(run: Any, family_folder: Callable[[str], Path], tmp_path: Path) -> None:
    model = family_folder("llama")
    name = captured_on_the_page(model)
    folded = run("export", "--model", model, "--dtype", "float32", "--subspace", name, "--rank", 5,
                 "--out", tmp_path / "folded")  # fmt: skip
    assert folded.code == 0, folded.err
    config = tmp_path / "table.json"
    config.write_text(json.dumps({
        "preset": "quick", "model": str(model), "dtype": "float32",
        "subjects": ["base", {"kind": "projected", "capture": name, "rank": "5", "label": "mine"},
                     {"kind": "checkpoint", "model": str(tmp_path / "folded"), "label": "fold"}],
        "sets": [{"capability": "arithmetic", "limit": 4, "max_new_tokens": 6}],
    }))  # fmt: skip
    table = run("table", config)
    assert table.code == 0, table.err
    (made,) = (one for one in all_runs() if isinstance(one, Run))

    def answers(subject: str) -> list[ItemRecord]:
        found = read_cell(made.folder, subject, 42, "arithmetic")
        assert found is not None
        return found[1]

    assert [one.completion for one in answers("mine")] == [one.completion for one in answers("fold")]
    assert [one.completion for one in answers("mine")] != [one.completion for one in answers("base")]
    back = run("capture", "--model", model, "--dtype", "float32", "--capability", "arithmetic", "--limit", 6,
               "--layers", "1,2", "--rank", 5, "--json")  # fmt: skip
    assert back.code == 0, back.err
    typed = json.loads(back.out)["capture"]
    first, second = load_saved(name), load_saved(typed)
    for site, one in first.sites.items():
        assert abs(one.values - second.sites[site].values).max() < 1e-6 * one.values.max()
    assert second.provenance.rank_rule == "5"
    for page in (session.SPECTRUM, session.ATTRIBUTIONS, session.SIDE_BY_SIDE):
        at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
        at.query_params[session.CAPTURE] = typed
        go_to(at.run(), page)
        assert [error.value for error in at.error] == []
        assert at.session_state[session.CAPTURE] == typed
