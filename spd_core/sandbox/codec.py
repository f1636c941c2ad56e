"""Plain values as bytes, and the connection that carries them between two processes that do not trust each other.

Plain are None, bool, int, float, complex, str, bytes, list, tuple, dict, set and frozenset, nested; any other object
is a number that only its own process can resolve. Reading can build nothing else and runs no code: the reason for a
format of our own (pickle and marshal do, and importing json takes longer than one run may cost). Each value is a
letter, a number, a colon, and then so many bytes or values. Knows nothing of what the messages mean.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # importing typing would cost each process 14 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MESSAGE = 2**21
"""Bytes of the longest message."""

DEPTH = 64
"""How deep values may be nested."""

COPIED = "__copied__"
"""What tests call to copy an argument."""

NOT_PLAIN = "returned something that is no plain value, is nested too deep or is too large"
ENDED = "ended before the tests were over"

_CONTAINERS: dict[bytes, Any] = {b"l": list, b"t": tuple, b"s": set, b"z": frozenset, b"d": dict, b"c": complex}
PLAIN = {type(None), bool, int, float, str, bytes, *_CONTAINERS.values()}


def pack(value: Any, number_of: Callable[[Any], int]) -> bytes:
    """A value as bytes. Of a subclass (a Counter, a named tuple) the plain part is taken.

    Args:
        number_of: gives any other object its number, or raises ValueError.

    Raises:
        ValueError: nested too deep, or too large.
    """
    out = bytearray()
    _pack(value, out, number_of, DEPTH)
    if len(out) > MESSAGE:
        raise ValueError("too large, or nested too deep")
    return bytes(out)


def _pack(value: Any, out: bytearray, number_of: Callable[[Any], int], depth: int) -> None:
    if depth < 0 or len(out) > MESSAGE:
        raise ValueError("too large, or nested too deep")
    if value is None or isinstance(value, (int, float, str, bytes)):
        tag, payload = _scalar(value)
        out += b"%s%d:%s" % (tag, len(payload), payload)
        return
    for tag, kind in _CONTAINERS.items():
        if isinstance(value, kind):
            parts = [value.real, value.imag] if kind is complex else list(kind.__iter__(value))
            parts = [one for key in parts for one in (key, dict.__getitem__(value, key))] if kind is dict else parts
            out += b"%s%d:" % (tag, len(parts))
            for part in parts:
                _pack(part, out, number_of, depth - 1)
            return
    out += b"h%d:" % number_of(value)


def _scalar(value: Any) -> tuple[bytes, bytes]:
    """The letter and the bytes of a value; by the base class' own method, so that a subclass cannot interfere."""
    if value is None or isinstance(value, bool):
        return b"n", b"" if value is None else b"%d" % value
    if isinstance(value, int):
        return b"i", int.__format__(value, "x").encode()  # decimal digits are limited and slow
    if isinstance(value, float):
        return b"f", float.hex(value).encode()
    return (b"u", str.encode(value, "utf-8", "surrogatepass")) if isinstance(value, str) else (b"b", bytes(value))


def unpack(data: bytes, object_of: Callable[[int], Any]) -> Any:
    """The value that `pack` wrote; can build nothing but plain values and what `object_of` gives for a number.

    Raises:
        ValueError: malformed, too large, or nested too deep.
    """
    try:
        value, end = _take(data, 0, object_of, DEPTH + 1)
    except (TypeError, LookupError, OverflowError, MemoryError) as error:  # e.g. a list as the key of a dict
        raise ValueError(str(error)) from None
    if end != len(data):
        raise ValueError("a message of another length than it says")
    return value


def _take(data: bytes, at: int, object_of: Callable[[int], Any], depth: int) -> tuple[Any, int]:
    colon = data.index(b":", at, at + 12)
    tag, digits = data[at : at + 1], data[at + 1 : colon]
    if not digits.isdigit() or depth < 0:
        raise ValueError("a malformed message")
    count, at = int(digits), colon + 1
    if tag == b"h":
        return object_of(count), at
    if tag not in _CONTAINERS:
        return _read_scalar(tag, data[at : at + count]), at + count
    parts = []
    for _ in range(count):
        part, at = _take(data, at, object_of, depth - 1)
        parts.append(part)
    if tag == b"d":
        return dict(zip(parts[::2], parts[1::2], strict=True)), at
    return complex(*parts) if tag == b"c" else _CONTAINERS[tag](parts), at


def _read_scalar(tag: bytes, payload: bytes) -> Any:
    if tag == b"n":
        return {b"": None, b"0": False, b"1": True}[payload]
    if tag == b"b":
        return payload
    text = payload.decode("utf-8", "surrogatepass")
    return {b"i": lambda: int(text, 16), b"f": lambda: float.fromhex(text), b"u": lambda: text}[tag]()


class Channel:
    """One end of a connection, which carries messages with their length before them."""

    def __init__(self, end: int) -> None:
        self._end = end

    def send(self, message: bytes) -> None:
        """Sends all of a message; OSError when the other process is gone."""
        rest = memoryview(b"%08x" % len(message) + message)
        while rest:
            rest = rest[os.write(self._end, rest) :]

    def receive(self) -> bytes:
        """The next message; EOFError when the other process is gone, ValueError for one that is too long."""
        length = int(self._read(8), 16)
        if not 0 <= length <= MESSAGE:
            raise ValueError("too large, or nested too deep")
        return self._read(length)

    def _read(self, length: int) -> bytes:
        parts = []
        while length:
            parts.append(os.read(self._end, min(length, 2**16)))
            if not parts[-1]:
                raise EOFError(ENDED)
            length -= len(parts[-1])
        return b"".join(parts)
