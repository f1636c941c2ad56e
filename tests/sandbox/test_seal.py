"""The walls around a process: the kernel's filter, followed step by step, and what a sealed process can still do."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spd_core.sandbox import seal as isolation
from spd_core.sandbox.seal import SealError, readable, seal
from tests.waiting import LONG

ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
OPEN = {"x86_64": [(2, 1), (257, 2)], "aarch64": [(56, 2)]}  # number, and which argument holds the flags
machines = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def decided(code: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What a filter returns for a call; the classic packet filter's rules, as few as are needed."""
    words = [number, architecture, 0, 0]
    words += [word for value in (*arguments, *[0] * 6)[:6] for word in (value & 0xFFFFFFFF, value >> 32)]
    steps = [code[at : at + 8] for at in range(0, len(code), 8)]
    at = loaded = 0
    while True:
        operation, yes, no = int.from_bytes(steps[at][:2], "little"), steps[at][2], steps[at][3]
        operand = int.from_bytes(steps[at][4:], "little")
        at += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            loaded = words[operand // 4]
        else:
            holds = {0x15: loaded == operand, 0x45: bool(loaded & operand)}[operation]
            at += yes if holds else no


@machines
def test_the_filter_lets_through_what_is_listed_and_no_more(machine: str) -> None:
    column, architecture = isolation._ARCHITECTURES[machine]
    code = isolation._filter(column, architecture)
    listed = {numbers[column] for numbers in isolation._ALLOWED.values()} - {-1}
    assert len(listed) > 35
    for number in [*range(600), *(0x40000000 + at for at in range(600)), 2**32 - 1]:
        opens = number in dict(OPEN[machine])
        other = FAIL | (errno.ENOSYS if number == 435 else errno.EPERM)
        assert decided(code, architecture, number) == (ALLOW if opens or number in listed else other)
        assert decided(code, architecture ^ 1, number) == KILL


@machines
def test_files_are_opened_to_read_only(machine: str) -> None:
    column, architecture = isolation._ARCHITECTURES[machine]
    code = isolation._filter(column, architecture)
    for number, at in OPEN[machine]:
        for flags in (
            os.O_WRONLY,
            os.O_RDWR,
            os.O_CREAT,
            os.O_TRUNC,
            os.O_TMPFILE | os.O_RDWR,
            os.O_APPEND | os.O_RDWR,
        ):
            assert decided(code, architecture, number, (7,) * at + (flags,)) == FAIL | errno.EACCES
        for flags in (os.O_RDONLY, os.O_CLOEXEC, os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC):
            assert decided(code, architecture, number, (7,) * at + (flags,)) == ALLOW


@pytest.mark.parametrize(
    ("column", "header"),
    [(0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), (1, "/usr/include/asm-generic/unistd.h")],
    ids=["x86_64", "aarch64"],
)
def test_the_numbers_are_the_kernels(column: int, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header}; install linux-libc-dev")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text()))
    names = {"newfstatat": "fstatat"} if column else {}
    table = {**isolation._ALLOWED, **isolation._OPEN}
    expected = {name: int(found.get(names.get(name, name), -1)) for name in table}
    assert {name: numbers[column] for name, numbers in table.items()} == expected


def sealed(body: str, wall: str = "seal") -> str:
    """What a program prints that seals itself off first."""
    program = f"import sys\nsys.path.append({str(Path(__file__).parents[2])!r})\n"
    program += f"from spd_core.sandbox.seal import {wall}\n{wall}(5)\n{body}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_standard_library_can_be_imported() -> None:
    """All of it that can without isolation: C extensions and the libraries they load, too."""
    skipped = {"antigravity", "this", "idlelib", "lib2to3", "turtle", "turtledemo", "tkinter", "test"}  # open windows
    names = sorted(name for name in sys.stdlib_module_names if name not in skipped and not name.startswith("_"))
    count = f"""names = {names!r}
found = set()
for name in names:
    try: __import__(name)
    except ImportError: continue
    except Exception as error: print(name, error)
    found.add(name)
print(len(found))"""
    free = subprocess.run([sys.executable, "-I", "-S", "-c", count], capture_output=True, text=True, timeout=LONG)
    assert int(free.stdout) > 150
    assert sealed(count) == free.stdout


def test_limits_hold() -> None:
    assert sealed("try: x = bytearray(2**31)\nexcept MemoryError: print('none')") == "none\n"
    told = sealed("import resource as r\nprint(*(r.getrlimit(x) for x in (r.RLIMIT_CPU, r.RLIMIT_NPROC)))", "limit")
    assert told == "(6, 6) (0, 0)\n"


def test_only_pythons_own_files_are_readable() -> None:
    home = Path.home()
    assert os.path.dirname(os.__file__) in readable()
    assert not [
        path for path in readable() if home == Path(path) or Path(path) in home.parents or path in ("/", "/etc")
    ]


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "riscv64")])
def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((system, "", "", "", machine)))
    with pytest.raises(SealError, match=f"only Linux on x86_64 or aarch64 can, and this is {system} on {machine}"):
        seal(1)


def test_a_wall_that_does_not_hold_is_noticed() -> None:
    with pytest.raises(SealError, match="accepts Landlock and does not enforce it"):
        isolation._try_the_walls()
