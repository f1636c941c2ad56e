"""Running `python -m spd_core` in this process or in one of its own, and the files it is given."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from spd_core.cli import main as cli
from tests import ROOT

ROWS = [{"prompt": f"{i} + 4?", "answer": f"It is {i + 4}", "spans": "number"} for i in range(1, 7)]


@dataclass(frozen=True)
class Result:
    """How a command ended: exit code, stdout and stderr."""

    code: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Result]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def process(*argv: object) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own."""
    command = [sys.executable, "-m", "spd_core", *map(str, argv)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def exit_code(*argv: object) -> int:
    """Run a command line in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["spd_core/__main__.py", *map(str, argv)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process, and keep what it says."""

    def command(*argv: object) -> Result:
        capsys.readouterr()
        code = exit_code(*argv)
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return command


@pytest.fixture(scope="module")
def llama(family_folder: Callable[[str], Path]) -> Path:
    """A tiny model: 3 layers, d_kv 16, a context of 256."""
    return family_folder("llama")


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """A capability of six examples."""
    return write(tmp_path / "sums.jsonl", *ROWS)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Two prompts of different length."""
    return write(tmp_path / "prompts.jsonl", {"prompt": "2 + 2 ="}, {"prompt": "A much longer prompt"})


@pytest.fixture(scope="module")
def subspace(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A subspace captured on the tiny model."""
    folder = tmp_path_factory.mktemp("captured")
    sums, out = write(folder / "sums.jsonl", *ROWS), folder / "subspace"
    assert exit_code("capture", "--model", llama, "--capability", sums, "--out", out) == 0
    return out
