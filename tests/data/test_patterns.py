"""Users' regular expressions: as `re` finds them, and stopped when they explode, while other threads go on."""

import re
import threading
import time

import pytest

from spd_core.data import patterns
from spd_core.data.patterns import find_spans
from spd_core.errors import InputError

TEXT = "It is 12.\nSo 3 + 4 = 7\nanswer: 7 apples"


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d+",
        r"answer: (\d+)",
        r"^So (.*)$",
        r"(?i)ANSWER",
        r"(a)|(b)",
        r"x*",
        r"[^\W\d_]+",
        r"(?<=: )\d",
        r"\bapples$",
        "ä",
    ],
)
def test_a_pattern_finds_what_re_finds(pattern: str) -> None:
    compiled = re.compile(pattern, re.MULTILINE)
    wanted = [match.span(min(1, compiled.groups)) for match in compiled.finditer(TEXT)]
    assert find_spans(pattern, TEXT) == [(start, end) for start, end in wanted if start < end]


@pytest.mark.parametrize("pattern", ["(a|aa)+$", "(.*a){20}$"])
def test_one_that_explodes_is_stopped_and_other_threads_go_on(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `re` the loop below would not turn once."""
    monkeypatch.setattr(patterns, "LIMIT", 0.5)
    over, turns = threading.Event(), 0

    def others() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            time.sleep(0.001)

    thread = threading.Thread(target=others)
    thread.start()
    with pytest.raises(InputError, match=r"takes longer than 0\.5 s on a text of 5,001 characters"):
        find_spans(pattern, "a" * 5000 + "c")
    over.set()
    thread.join()
    assert turns > 3


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 400 + "a" + ")" * 399, "[z-a]", "*"])
def test_what_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="not a regular expression"):
        find_spans(pattern, TEXT)


def test_a_pattern_has_a_most_length() -> None:
    with pytest.raises(InputError, match="1,001 characters; the most is 1,000"):
        find_spans("a" * 1001, TEXT)
