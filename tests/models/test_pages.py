"""Large pages where the system has some, and the same bytes everywhere."""

import ctypes
import mmap
import sys
from pathlib import Path

import pytest

from spd_core.models import pages
from spd_core.models.pages import into_large_pages

MIB = 2**20


def large(address: int) -> int:
    """Bytes in large pages of the mapping that holds an address, as the kernel tells."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and ":" not in head:
            start, end = (int(part, 16) for part in head.split("-"))
            inside = start <= address < end
        elif inside and head == "AnonHugePages:":
            return int(line.split()[1]) * 1024
    return 0


def kernel_can() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    release = tuple(map(int, Path("/proc/sys/kernel/osrelease").read_text().split(".")[:2])) if setting.exists() else ()
    return release >= (6, 1) and "[never]" not in setting.read_text()


@pytest.mark.skipif(sys.platform != "linux" or not kernel_can(), reason="no large pages on this system")
def test_memory_that_is_there_comes_to_lie_in_large_pages() -> None:
    held = mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    said = bytes(range(256)) * (len(held) // 256)
    held[:] = said
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    assert large(address) == 0
    into_large_pages([(address + 5 * MIB, 3 * MIB), (address, 5 * MIB)]).join()
    assert large(address) >= 4 * MIB
    assert held[:] == said


def test_what_nobody_holds_is_no_error() -> None:
    into_large_pages([(2**21, 2**22)]).join()
    into_large_pages([]).join()


def test_neighbours_are_one_range_and_others_are_not() -> None:
    assert pages._merged([(100, 10), (0, 50), (2**20, 4), (111, 9)]) == [(0, 120), (2**20, 2**20 + 4)]
