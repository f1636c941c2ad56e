"""Values as bytes: there and back, and nothing but plain values from any bytes whatever."""

import enum
import math
import os
import random
from collections import Counter, OrderedDict, defaultdict, namedtuple
from typing import Any

import pytest

from spd_core.sandbox.codec import DEPTH, MESSAGE, Channel, pack, unpack


def refused(value: Any) -> int:
    raise ValueError(f"{value} is not plain")


def back(value: Any) -> Any:
    return unpack(pack(value, refused), refused)


VALUES = [
    *(None, True, False, 0, -1, 255, 10**30, -(2**70), 1 << 10_000, 0.1, -0.0, 1e308, float("inf"), 5e-324, 1 - 2j),
    *(
        "",
        "ä\n\0",
        "\ud800",
        "😀",
        b"",
        b"\0\xff",
        [],
        (),
        {},
        set(),
        frozenset(),
        [[]],
        ((),),
        {"a": {1: [2.5, None]}},
    ),
    *({(1, "b"): b"c", frozenset({1}): ()}, {1, 1.5, "1"}, [True, 1, 1.0], {None: None}, [complex("inf+nanj")]),
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))  # the order inside a set differs by process
def test_there_and_back(value: Any) -> None:
    found = back(value)
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_a_number_that_is_none_stays_one() -> None:
    assert math.isnan(back(float("nan")))


class Level(enum.IntEnum):
    LOW = 3


class Tricky(int):
    def __index__(self) -> int:
        return 9

    __int__ = __index__

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (OrderedDict(a=1), {"a": 1}),
        (namedtuple("Pair", "a b")(1, 2), (1, 2)),
        (Level.LOW, 3),
        (Tricky(4), 4),
    ],
)
def test_of_a_subclass_the_plain_part_is_taken(value: Any, plain: Any) -> None:
    found = back(value)
    assert type(found) is type(plain)
    assert plain == found


def test_other_objects_are_numbers() -> None:
    objects = [object(), len]
    assert unpack(pack([objects[1], {"a": objects[0]}], objects.index), objects.__getitem__) == [len, {"a": objects[0]}]
    with pytest.raises(ValueError, match="not plain"):
        pack([len], refused)


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def test_what_is_nested_too_deep_or_too_large_is_refused() -> None:
    assert back(nested(DEPTH)) == nested(DEPTH)
    endless: list[Any] = []
    endless.append(endless)
    for value in (nested(DEPTH + 1), endless, "x" * (MESSAGE + 1), [0] * MESSAGE):
        with pytest.raises(ValueError, match="too large, or nested too deep"):
            pack(value, refused)
    with pytest.raises(ValueError, match="malformed"):
        unpack(b"l1:" * 10**5 + b"l0:", refused)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b":",
            b"n",
            b"n0",
            b"n0:n0:",
            b"n1:2",
            b"x0:",
            b"l1:",
            b"l-1:",
            b"l 1:n0:",
            b"l1_0:",
            b"u9:a",
            b"u1:\xff",
        ),
        *(b"i1:g", b"i0:", b"f1:x", b"c1:n0:", b"c2:u1:an0:", b"d1:n0:", b"d2:l0:n0:", b"s1:l0:", b"l99999999999:n0:"),
        *(b"l9999999999:", b"h0:", b"u-5:", b"l2:n0:", b"f11:0x1p9999999", b"\xb21:", "u²:a".encode()),
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the reason is for nobody)
        unpack(data, refused)


def test_any_bytes_give_a_plain_value_or_are_refused() -> None:
    """Real messages with a few bytes changed at random."""
    dice = random.Random(0)
    messages = [pack(value, refused) for value in VALUES]
    values = 0
    for _ in range(20_000):
        data = bytearray(dice.choice(messages) + dice.choice(messages) * dice.randrange(2))
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.choice(b"0123456789:ltdszcnifubh\xff")
        try:
            found = unpack(bytes(data), refused)
        except ValueError:
            continue
        values += 1
        pack(found, refused)  # so it is plain
    assert values > 100


@pytest.fixture
def ends() -> Any:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        try:  # noqa: SIM105
            os.close(end)
        except OSError:
            pass


def test_a_channel_carries_messages_in_order(ends: tuple[int, int]) -> None:
    for message in (b"", b"one", b"x" * 30_000):
        Channel(ends[1]).send(message)
    assert [Channel(ends[0]).receive() for _ in range(3)] == [b"", b"one", b"x" * 30_000]


@pytest.mark.parametrize("sent", [b"", b"0000", b"00000004abc"])
def test_a_channel_that_ends_is_noticed(ends: tuple[int, int], sent: bytes) -> None:
    os.write(ends[1], sent)
    os.close(ends[1])
    with pytest.raises(EOFError):
        Channel(ends[0]).receive()


@pytest.mark.parametrize("length", [b"ffffffff", b"-0000001", b"no hex!!", b"%08x" % (MESSAGE + 1)])
def test_a_length_that_cannot_be_is_refused(ends: tuple[int, int], length: bytes) -> None:
    os.write(ends[1], length)
    with pytest.raises(ValueError):  # noqa: PT011
        Channel(ends[0]).receive()
