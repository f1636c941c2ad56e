"""`python -m spd_core study` with a tiny model: carried out for real, recorded, repeated in part, stopped, refused."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spd_core.evaluation.cells import read_cell
from spd_core.library.incoming import check_bundle
from spd_core.runs.folder import all_runs
from spd_core.studies import carrying_out
from spd_core.studies.carrying_out import recorded_parts
from spd_core.studies.plan import read_study
from tests import shell
from tests.shell import Run, write

pytestmark = pytest.mark.slow
run, llama = shell.run, shell.llama
SPLITS = {"calibration": range(0, 6), "train": range(6, 14), "heldout": range(14, 20)}
ROWS = [
    {"prompt": f"{i} + 4?", "answer": f"It is {i + 4}", "spans": "number", "split": split}
    for split, numbers in SPLITS.items()
    for i in numbers
]


@pytest.fixture
def plan(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two evaluations of seconds."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    own = str(write(tmp_path / "sums.jsonl", {"capability": "sums", "template": "{prompt}", "scorer": "number"}, *ROWS))
    studies = tmp_path / "studies"
    studies.mkdir()
    said: dict[str, Any] = {
        "title": "Tiny sums",
        "date": "2026-11-29",
        "common": {
            "capability": own, "model": str(llama), "dtype": "float32", "seeds": [1, 2],
            "sets": [{"capability": own, "max_new_tokens": 4}],
            "corpus": {"prompts": 8, "held_out": 2, "max_new_tokens": 4, "drop": []},
            "train": {"epochs": 1, "batch_size": 4, "completions": 0},
        },
        "evaluations": {
            "trained": {"question": "After training?", "subjects": ["base", "psr", "spd"]},
            "before": {"question": "Before?", "subjects": ["base", "projected"]},
        },
        "primary": [{"part": "trained", "subject": "spd"}, {"part": "before", "subject": "projected"}],
        "slice": [{"part": "trained", "subjects": ["base", "psr"], "seeds": [1]}],
    }  # fmt: skip
    path = studies / "tiny.json"
    path.write_text(json.dumps(said))
    return path


def test_a_study_is_carried_out_recorded_and_repeated_in_part(plan: Path, run: Run, tmp_path: Path) -> None:
    place = plan.with_suffix("")
    only = run("study", plan, "--only", "before", "--out", place)
    assert only.code == 0, only.err
    assert "before: Before?" in only.err
    assert "1 of 2 are not answered yet" in only.out
    whole = run("study", plan, "--out", place, "--bundles", tmp_path / "bundles", "--json")
    assert whole.code == 0, whole.err
    found = json.loads(whole.out)
    assert set(found["runs"]) == {"trained", "before"}
    assert [(row["subject"], row["n"], row["seeds"]) for row in found["primary"]] == [
        ("spd", 6, 2),
        ("projected", 6, 1),
    ]
    assert (place / "results.md").read_text().startswith("# Tiny sums\n")
    study = read_study(plan)
    recorded = recorded_parts(study, place)
    trained_by = {path.name for path in (place / "runs").iterdir()} - {one.id for one in recorded.values()}
    assert len(trained_by) == 2, "the trainings of both seeds, with their corpora"
    assert all(list((place / "runs" / name / "corpora").glob("*.jsonl")) for name in trained_by)
    assert not list(place.rglob("*.safetensors"))

    held = check_bundle(tmp_path / "bundles" / "tiny-trained.zip").manifest.things
    kinds = Counter(one.thing.partition(":")[0] for one in held)
    assert (kinds["evaluation"], kinds["adapter"]) == (1, 4), "two arms with two seeds"

    before = len(all_runs())
    again = run("study", plan)
    assert (again.code, len(all_runs())) == (0, before), "all is finished"
    (tmp_path / "home").rename(tmp_path / "before")
    part = run("study", plan, "--slice", "--against", place)
    assert part.code == 0, part.err
    assert "2 of 2 cells are the same, item by item (12 of 12 answers)" in part.out
    said = run("study", plan, "--report", "--out", place)
    assert said.code == 0
    assert "## trained" in said.out


def test_what_is_stopped_keeps_what_it_has_and_says_how_to_go_on(
    plan: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: Any, **__: Any) -> str:
        return "stopped"

    with monkeypatch.context() as patch:
        patch.setattr("spd_core.cli.study.carry_out_evaluation", stops)
        stopped = run("study", plan, "--only", "before")
    assert stopped.code == 130
    assert "The same command goes on with it" in stopped.err
    (kept,) = all_runs()
    assert run("study", plan, "--only", "before").code == 0
    assert [one.id for one in all_runs()] == [kept.id]
    assert read_cell(kept.folder, "projected", 1, "sums") is not None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--only", "third"), "tiny has no evaluation 'third'; there are trained, before"),
        (("--report",), "--report needs --out"),
    ],
)
def test_what_cannot_be_is_refused(plan: Path, run: Run, options: tuple[str, ...], said: str) -> None:
    refused = run("study", plan, *options)
    assert refused.code == 2
    assert said in refused.err
    assert all_runs() == []
    assert carrying_out.recorded_parts(read_study(plan), plan.with_suffix("")) == {}
