"""Asks Linux for large pages where memory is read through again and again.

A step of decoding streams through every weight. In pages of 4 KiB the processor looks up where each one lies, which
costs about a tenth of the step; in pages of 2 MiB it hardly does.
"""

import ctypes
import sys
import threading
from collections.abc import Iterable

_PAGE = 2**21
_NEAR = 2**16
"""Bytes between two ranges that are treated as one: what lies between them belongs to the allocator."""
_HUGEPAGE, _COLLAPSE = 14, 25
"""Of `madvise`: allow large pages, and make them now (Linux 6.1 or newer)."""


def into_large_pages(ranges: Iterable[tuple[int, int]]) -> threading.Thread:
    """Ask for large pages for memory that is there, as `(address, bytes)`; contents stay as they are.

    It takes about two seconds for a gigabyte, in a thread of its own; meanwhile the memory can be used. Where the
    system does not know it, or has no large page to give, nothing changes.
    """
    thread = threading.Thread(target=_ask, args=(_merged(ranges),), daemon=True)
    thread.start()
    return thread


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges as `(start, end)`, neighbours as one."""
    found: list[tuple[int, int]] = []
    for start, size in sorted(ranges):
        if found and start - found[-1][1] < _NEAR:
            found[-1] = (found[-1][0], max(found[-1][1], start + size))
        else:
            found.append((start, start + size))
    return found


def _ask(ranges: list[tuple[int, int]]) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    for start, end in ranges:
        first, last = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
        for advice in (_HUGEPAGE, _COLLAPSE):
            if last > first:  # refusals are answers, too
                libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), advice)
