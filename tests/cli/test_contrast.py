"""`contrast`: two captures in, one capture out that every command takes."""

import json
from pathlib import Path

import pytest

from spd_core.subspace.store import load_capture, saved_captures
from tests import shell
from tests.shell import Run, exit_code, read

run, llama, sums, prompts, subspace = shell.run, shell.llama, shell.sums, shell.prompts, shell.subspace


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_of_recorded_captures_by_their_names(run: Run, home: Path) -> None:
    done = run("contrast", "--of", "arithmetic", "--without", "multiple-choice", "--without", "python-functions",
               "--rank", "25", "--json")  # fmt: skip
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["capability"] == "arithmetic without multiple-choice and python-functions"
    assert saved_captures() == [result["capture"]]
    made = load_capture(home / "captures" / result["capture"])
    for site, found in made.sites.items():
        held = result["held"][site.label]
        own = (found.values[:25] ** 2).sum() / (found.values**2).sum()
        assert (held["rank"], held["own"]) == (25, pytest.approx(own, abs=1e-4))
        assert held["other"] < held["own"], "what is the capability's alone"
        assert held["other"] < held["plain_other"]
    assert "already exists" in run("contrast", "--of", "arithmetic", "--without", "multiple-choice",
                                   "--out", home / "captures" / result["capture"]).err  # fmt: skip


def test_a_lane_writes_inside_it(
    run: Run, home: Path, subspace: Path, llama: Path, prompts: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": f"What comes after {word}?", "answer": f"{word}s", "spans": "answer"} for word in "abcdefgh"]
    words = shell.write(tmp_path / "words.jsonl", *rows)
    assert exit_code("capture", "--model", llama, "--capability", words, "--out", tmp_path / "words") == 0
    done = run("contrast", "--of", subspace, "--without", tmp_path / "words", "--out", tmp_path / "made")
    assert done.code == 0, done.err
    assert "capability: sums without words" in done.out
    done = run("generate", "--model", llama, "--subspace", tmp_path / "made", "--rank", "4", "--prompts", prompts,
               "--out", tmp_path / "texts.jsonl", "--max-new-tokens", "4", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert [row["lane"] for row in read(tmp_path / "texts.jsonl")] == ["raw", "projected"] * 2


def test_what_cannot_be_made_is_one_line_and_nothing_is_written(run: Run, home: Path) -> None:
    done = run("contrast", "--of", "arithmetic", "--without", "arithmetic")
    assert done.code == 2
    assert "the same capture" in done.err
    done = run("contrast", "--of", "arithmetic", "--without", "cooking")
    assert "no capture 'cooking' is saved" in done.err
    assert saved_captures() == []
