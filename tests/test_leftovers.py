"""What killed processes leave: brought back where it was the only copy, removed where it is old and nobody's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spd_core import storage
from spd_core.exchange import exchanged
from spd_core.leftovers import DAY, sweep
from tests import ROOT

DEAD = 2**22 + 1
"""Above the highest number that Linux gives a process."""


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    folder = tmp_path / "captures"
    folder.mkdir()
    return folder


def made(path: Path, age: float = 0.0) -> Path:
    """A folder with a file in it, both so old."""
    path.mkdir(parents=True)
    (path / "file").write_text("half")
    then = time.time() - age
    for one in (path / "file", path):
        os.utime(one, (then, then))
    return path


def test_two_folders_change_places(captures: Path) -> None:
    one, other = made(captures / "one"), made(captures / "other")
    (other / "file").write_text("whole")
    if not exchanged(one, other):
        pytest.skip("this system or disk cannot")
    assert (one / "file").read_text() == "whole"
    assert (other / "file").read_text() == "half"
    with pytest.raises(OSError, match="No such file"):
        exchanged(one, captures / "none")


def test_a_kill_between_the_two_renames_hides_no_capture(captures: Path, tmp_path: Path) -> None:
    """Where a disk cannot exchange folders: the process is killed when the old one is aside."""
    made(captures / "sums")
    program = (
        "import os, signal, sys; from pathlib import Path; from spd_core import storage\n"
        "storage.exchanged = lambda one, other: False\n"
        "renamed, done = os.rename, []\n"
        "def rename(*names):\n"
        "    if done: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(renamed(*names))\n"
        "os.rename = rename\n"
        "with storage.new_folder(Path(sys.argv[1]), overwrite=True) as new: (new / 'file').write_text('new')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(captures / "sums")], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (captures / "sums").exists()
    sweep(tmp_path)
    assert (captures / "sums" / "file").read_text() == "half"
    sweep(tmp_path, time.time() + 2 * DAY)
    assert [path.name for path in captures.iterdir()] == ["sums"]


def test_what_is_old_and_nobodys_is_removed(captures: Path, tmp_path: Path) -> None:
    old = 2 * DAY
    kept = [
        made(captures / f".sums.{os.getpid()}.abcdefgh", old),  # its process lives
        made(captures / f".sums.{DEAD}.young_12"),
        made(captures / ".gone.old.abcdefgh", old),  # of an older version, perhaps the only copy
        made(captures / "sums", old),
        made(captures / ".hidden", old),
        made(tmp_path / "exports" / "merged" / ".of-a-hub.metadata", old),
        made(tmp_path / "models" / f".builtin.{DEAD}.abcdefgh", old),
    ]
    swept = [
        made(captures / f".sums.{DEAD}.abcdefgh", old),
        made(captures / ".sums.abcdefgh", old),  # of an older version
        made(captures / ".sums.old.abcdefgh", old),
        made(captures / f".sums.{DEAD}.before.abcdefgh", old),
        made(tmp_path / "runs" / "a-run" / "captures" / f".sums.{DEAD}.abcdefgh", old),
        made(tmp_path / ".import-abcdefgh", old),
    ]
    torn = tmp_path / "texts" / f".a.json.{DEAD}.abcdefgh"
    torn.parent.mkdir()
    torn.write_text("{")
    os.utime(torn, (0, 0))
    assert sorted(sweep(tmp_path)) == sorted([*swept, torn])
    assert [path for path in kept if not path.exists()] == []
    assert sweep(tmp_path / "nowhere") == []


def test_names_say_who_is_at_work(captures: Path) -> None:
    with storage.new_folder(captures / "sums") as temporary:
        assert temporary.name.startswith(f".sums.{os.getpid()}.")
        assert sweep(captures.parent, time.time() + 2 * DAY) == []
