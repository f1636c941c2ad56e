"""Writing is all or nothing: a failure leaves what was there, and no temporary file."""

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from spd_core import storage
from spd_core.errors import StorageError
from spd_core.storage import child, exclusive, new_name
from tests import ROOT


def full_disk(*_args: Any, **_options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_at(call: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, except that the given call (1-based) finds the disk full."""
    calls = 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return full_disk() if calls == call else original(*args, **options)

    return counted


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "file").write_text("old")
    return folder


def write_half(folder: Path, error: type[BaseException]) -> None:
    (folder / "file").write_text("half")
    raise error


def only(path: Path) -> bool:
    """Whether nothing stands beside `path`: no temporary was left."""
    return [found.name for found in path.parent.iterdir()] == [path.name]


# --- files ---------------------------------------------------------------------------------------------------


def test_write_text_replaces_a_file(old_file: Path) -> None:
    storage.write_text(old_file, "new ⚙\n")
    assert old_file.read_bytes() == "new ⚙\n".encode()
    assert old_file.stat().st_mode & 0o777 == 0o644
    assert only(old_file)


def test_write_text_makes_missing_parents(tmp_path: Path) -> None:
    storage.write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_full_disk_leaves_the_old_file(old_file: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(StorageError, match=r"cannot write .*result\.json: No space left on device"):
        storage.write_text(old_file, "new")
    assert old_file.read_text() == "old"
    assert only(old_file)


def test_a_full_disk_leaves_no_half_of_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError):
        storage.write_text(tmp_path / "result.json", "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupt_leaves_the_old_file(old_file: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def interrupt(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.write_text(old_file, "new")
    assert old_file.read_text() == "old"
    assert only(old_file)


def test_an_existing_file_is_refused_unless_it_may_be_replaced(old_file: Path) -> None:
    with pytest.raises(StorageError, match=r"result\.json already exists.*--overwrite"):
        storage.write_text(old_file, "new", overwrite=False)
    assert old_file.read_text() == "old"


def test_a_file_in_the_place_of_a_folder(old_file: Path) -> None:
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        storage.write_text(old_file / "inside.json", "new")
    assert old_file.read_text() == "old"


# --- folders -------------------------------------------------------------------------------------------------


def test_new_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    folder = tmp_path / "result"
    with storage.new_folder(folder) as temporary:
        (temporary / "file").write_text("new")
        assert not folder.exists()
    assert (folder / "file").read_text() == "new"
    assert folder.stat().st_mode & 0o777 == 0o755
    assert only(folder)


def test_new_folder_replaces_an_older_one_whole(old_folder: Path) -> None:
    with storage.new_folder(old_folder, overwrite=True) as temporary:
        (temporary / "other").write_text("new")
        assert (old_folder / "file").read_text() == "old"
    assert [path.name for path in old_folder.iterdir()] == ["other"]
    assert only(old_folder)


def test_an_existing_folder_is_refused_before_any_work(old_folder: Path) -> None:
    with pytest.raises(StorageError, match="already exists"), storage.new_folder(old_folder):
        pytest.fail("the block ran")
    assert (old_folder / "file").read_text() == "old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interrupt_inside_leaves_the_old_folder(old_folder: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), storage.new_folder(old_folder, overwrite=True) as temporary:
        write_half(temporary, error)
    assert (old_folder / "file").read_text() == "old"
    assert only(old_folder)


@pytest.mark.parametrize("call", [1, 2])  # the old folder moves aside, then the new one moves in
def test_a_failing_rename_leaves_the_old_folder(old_folder: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    monkeypatch.setattr(storage, "exchanged", lambda _one, _other: False)
    monkeypatch.setattr(os, "rename", failing_at(call, os.rename))
    with pytest.raises(StorageError, match="No space left"), storage.new_folder(old_folder, True) as temporary:
        (temporary / "file").write_text("new")
    assert (old_folder / "file").read_text() == "old"
    assert only(old_folder)


def test_a_safetensors_error_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left"), storage.new_folder(tmp_path / "result"):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    assert not list(tmp_path.iterdir())


def test_a_file_that_fails_inside_a_folder_leaves_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError), storage.new_folder(tmp_path / "result") as temporary:
        storage.write_text(temporary / "file.json", "new")
    assert not list(tmp_path.iterdir())


# --- provenance ----------------------------------------------------------------------------------------------


def test_a_folder_is_removed_whole_and_a_refusal_leaves_no_trace(old_folder: Path) -> None:
    storage.remove_folder(old_folder)
    assert not list(old_folder.parent.iterdir())
    with pytest.raises(StorageError):
        storage.remove_folder(old_folder)
    assert not list(old_folder.parent.iterdir())


def test_to_json_is_sorted_readable_and_ends_in_a_newline() -> None:
    text = storage.to_json({"b": "ü", "a": [1]})
    assert text == '{\n  "a": [\n    1\n  ],\n  "b": "ü"\n}\n'
    assert json.loads(text) == {"b": "ü", "a": [1]}


def test_spd_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SPD_HOME", "~/elsewhere")
    assert storage.spd_home() == tmp_path / "elsewhere"
    monkeypatch.setenv("SPD_HOME", "")
    assert storage.spd_home() == tmp_path / ".spd-lab"


@pytest.mark.parametrize("held", [[], ["captures", "hashes.json", ".lock"]])
def test_the_home_is_made_private(held: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    for name in held:
        (home / name).touch()
    monkeypatch.setenv("SPD_HOME", str(home))
    assert storage.private_home() == home
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_missing_is_made_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "a" / "b"))
    assert storage.private_home().stat().st_mode & 0o777 == 0o700


def test_a_folder_of_others_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`SPD_HOME=/tmp` must not lock out everybody else."""
    (tmp_path / "thesis.pdf").touch()
    (tmp_path / "captures").mkdir()
    tmp_path.chmod(0o755)
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    storage.private_home()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_all_may_use_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After a start of the machine `/tmp` holds hidden folders alone."""
    (tmp_path / ".X11-unix").mkdir()
    tmp_path.chmod(0o1777)
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    storage.private_home()
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777


def test_the_home_knows_all_that_is_kept_in_it() -> None:
    """Whatever else lies there makes it a folder of others, and leaves it readable."""
    files = [path for tree in ("app", "spd_core") for path in (ROOT / tree).rglob("*.py")]
    kept = {
        name for path in files for name in re.findall(r'(?:spd|shared)_home\(\) / "([^"]+)"', path.read_text("utf-8"))
    }
    assert {"captures", "hashes.json"} < kept <= storage._OURS


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_what_is_written_has_the_rights_that_the_user_gives_new_files(
    umask: int, file: int, folder: int, tmp_path: Path
) -> None:
    """Asked in a process of its own: it is read once, when it starts."""
    program = (
        "from pathlib import Path; from spd_core.storage import new_folder, write_text; write_text(Path('a'), 'x')\n"
        "with new_folder(Path('b')) as b: (b / 'c').write_text('x')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, umask=umask, check=True)
    rights = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("a", "b", "b/c")}
    assert rights == {"a": file, "b": folder, "b/c": file}


def test_versions_say_what_is_installed_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_VERSIONED", ("safetensors", "no-such-package"))
    assert storage.versions() == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "safetensors": metadata.version("safetensors"),
        "no-such-package": "not installed",
    }


def test_command_line_can_be_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/lib/spd_core/__main__.py", "capture", "--out", "my folder"])
    assert shlex.split(storage.command_line()) == ["python", "-m", "spd_core", "capture", "--out", "my folder"]


def test_new_names_sort_by_time_and_lead_nowhere_else(tmp_path: Path) -> None:
    names = []
    for _ in range(5):
        names.append(new_name())
        time.sleep(0.002)
    assert names == sorted(names), "results of the same second, too"
    assert child(tmp_path, new_name("../a b/ü" + "x" * 99)).parent == tmp_path


# --- locks -------------------------------------------------------------------------------------------------------

HOLDER = """
import pathlib, subprocess, sys, time
from spd_core.storage import exclusive
with exclusive(pathlib.Path(sys.argv[1])):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    print(child.pid, flush=True)
    time.sleep(60)
"""


def free(lock: Path) -> bool:
    with exclusive(lock, wait=False) as held:
        return held


def test_a_lock_keeps_other_threads_out_and_its_file_stays(tmp_path: Path) -> None:
    lock, inside, seen = tmp_path / "lock", 0, []

    def enter() -> None:
        nonlocal inside
        for _ in range(5):
            with exclusive(lock) as held:
                inside += 1
                seen.append((held, inside))
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [(True, 1)] * 20
    assert lock.is_file()
    assert free(lock)


def test_a_lock_goes_with_its_process_and_not_to_its_children(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert not free(lock)
            holder.kill()
            holder.wait(30)
            os.kill(child, 0)  # it lives, and has no lock
            assert free(lock)
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)


def test_waiting_for_a_lock_ends_when_asked_to(tmp_path: Path) -> None:
    lock, asked = tmp_path / "lock", 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    with exclusive(lock):
        with exclusive(lock, stop) as held:
            assert (held, asked) == (False, 3)
        assert not free(lock), "who did not get it does not let go of it"
    with exclusive(lock, stop) as held:
        assert (held, asked) == (True, 3), "a free one is taken without asking"


def test_a_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot write .*lock"), exclusive(tmp_path / "lock"):
        pytest.fail("the block ran")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_makes_no_folder_that_was_deleted(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"), exclusive(tmp_path / "gone" / "lock"):
        pytest.fail("the block ran")
    assert not (tmp_path / "gone").exists()


def test_a_disk_that_refuses_a_lock_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filelock._unix.lock_fd_nonblocking", full_disk)
    with pytest.raises(StorageError, match="No space left"), exclusive(tmp_path / "lock"):
        pytest.fail("the block ran")
    with pytest.raises(RuntimeError, match="of the block"):  # whose errors are its own
        monkeypatch.undo()
        with exclusive(tmp_path / "lock"):
            raise RuntimeError("of the block")
    assert free(tmp_path / "lock")


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "arms" / ".spd.x1").mkdir(parents=True)
    (tmp_path / "arms" / ".spd.x1" / "weights").write_text("half")
    (tmp_path / "arms" / "spd").mkdir()
    (tmp_path / "arms" / "spd" / "weights").write_text("whole")
    (tmp_path / "arms" / "spd" / ".card.json.abc").write_text("half")
    storage.clear_temporary(tmp_path / "arms")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["arms", "arms/spd", "arms/spd/weights"]
    storage.clear_temporary(tmp_path / "not there")
