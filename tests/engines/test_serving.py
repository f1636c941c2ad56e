"""What is started for a checkpoint serves that very checkpoint, and ends with whoever started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from spd_core.distill.write import planned_rows, write_corpus, write_corpus_by
from spd_core.engines import keeper
from spd_core.engines.serving import vllm_version
from spd_core.engines.written import writer_of_corpus
from spd_core.errors import WriterError
from spd_core.intervention.projection import Lane
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Writer
from tests import ROOT
from tests.distill.test_corpus import capability
from tests.intervention.test_projection import subspace_of
from tests.waiting import until

GREEDY = Sampling(temperature=0.0, max_new_tokens=5)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that has something like vLLM."""
    program = tmp_path / "python"
    place = ROOT / "tests" / "engines" / "stand_in.py"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {place} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("SPD_VLLM", str(program))
    return program


@pytest.mark.usefixtures("stand_in")
def test_a_folded_checkpoint_is_served_asked_and_removed(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    lane, tasks = Lane(subspace_of(lm), strength=0.8, name="spd"), planned_rows(lm, capability(3))
    here = write_corpus(lm, tasks, lane, GREEDY, tmp_path / "here.jsonl")
    path, folder = tmp_path / "there.jsonl", tmp_path / "engines"
    there = write_corpus_by(Writer(kind="vllm"), "spd", lm, tasks, lane, GREEDY, path, folder)
    assert there == here
    found = writer_of_corpus(path)
    assert found is not None
    assert (found.writer, vllm_version()) == ("vllm 0.0", "vllm 0.0")
    assert found.gap is not None
    assert found.gap < 1e-4
    assert [one.name for one in folder.iterdir()] == ["spd.log"], "the checkpoint is gone"
    assert not [one for one in psutil.Process().children(recursive=True) if "stand_in.py" in " ".join(one.cmdline())]


def test_why_it_did_not_start_is_said(
    stand_in: Path, tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPD_VLLM_ARGS", "--dtype float64")
    lm = tiny_lm("llama")
    tasks = planned_rows(lm, capability(3))
    with pytest.raises(WriterError, match=r"vLLM has ended \(ValueError: no float64 here\); its log: .*psr.log"):
        write_corpus_by(Writer(kind="vllm"), "psr", lm, tasks, Lane(), GREEDY, tmp_path / "c.jsonl", tmp_path / "e")
    assert stand_in.exists()


_OWNER = """
import subprocess, sys
kept = subprocess.Popen([sys.executable, {keeper!r}, "sleep", "600"], stdin=subprocess.PIPE, start_new_session=True)
print(kept.pid, flush=True)
kept.wait()
"""


def test_a_server_does_not_outlive_an_owner_that_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER.format(keeper=keeper.__file__)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    kept = psutil.Process(int(owner.stdout.readline()))
    until(lambda: kept.children())
    (server,) = kept.children()
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    until(lambda: not server.is_running() and not kept.is_running())
