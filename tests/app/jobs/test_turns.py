"""The queue of a class: one at a time, in an order that is fair to people."""

import threading

import pytest

from app.jobs.turns import Turns
from spd_core.errors import Stopped
from tests.waiting import until


def served(asked: str, first: str = "z") -> str:
    """The order in which jobs of people (letters) are served that all came while somebody (`first`) was at work."""
    turns, order, told = Turns(), [], []

    def ask(who: str) -> None:
        with turns.turn(who, told.append, lambda: False):
            order.append(who)

    threads = [threading.Thread(target=ask, args=(who,)) for who in asked]
    with turns.turn(first, told.append, lambda: False):
        for at, thread in enumerate(threads):
            thread.start()
            until(lambda at=at: len(turns._waiting) == at + 1)  # type: ignore[misc]
        assert not order, "one at a time"
    for thread in threads:
        thread.join()
    return "".join(order)


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ("abc", "abc"),  # who came first
        ("aaab", "abaa"),  # nobody comes twice before all others who wait came once
        ("aabbcc", "abcabc"),
        ("zab", "abz"),  # z was served just now, and a and b never
        ("zzab", "abzz"),
    ],
)
def test_people_take_turns(asked: str, order: str) -> None:
    assert served(asked) == order


def test_who_waits_is_told_the_place_and_can_give_up() -> None:
    turns, told = Turns(), []
    with (
        turns.turn("a", told.append, lambda: False),
        pytest.raises(Stopped, match="before its turn came"),
        turns.turn("b", told.append, lambda: True),
    ):
        pytest.fail("b has had no turn")
    assert told == [1]
    with turns.turn("c", told.append, lambda: False):
        assert told == [1], "nobody is left before it"


def test_work_that_fails_ends_its_turn() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn("a", print, lambda: False):
        _ = 1 / 0
    with turns.turn("b", pytest.fail, lambda: False):
        pass
