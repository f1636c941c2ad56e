"""Every kind of thing leads to its page, and what would be lacking is named before anything is deleted."""

from app.library.rows import condition, kinds_in_words, matches_words, size_in_words, summary
from app.library.selected import _without_parts, _would_lack
from spd_core.library.labels import Label
from spd_core.library.shelf import Shelf
from spd_core.library.things import Ref, Thing


def thing(kind: str, name: str, *stands_on: Ref, problem: str = "") -> Thing:
    return Thing(Ref(kind, name), f"{kind} {name}", "2026-11-28T10:00:00", 1_500_000, "m", stands_on, problem=problem)  # type: ignore[arg-type]


CAPTURE, RUN = thing("capture", "c"), thing("run", "r")
ADAPTER = thing("adapter", "r/spd", RUN.ref)
TEXT = thing("text", "t", CAPTURE.ref, ADAPTER.ref)
SHELF = Shelf({one.ref: one for one in (CAPTURE, RUN, ADAPTER, TEXT)})


def test_who_would_lack_what() -> None:
    assert _would_lack([CAPTURE], SHELF) == [TEXT]
    assert _would_lack([RUN], SHELF) == [TEXT], "its adapters go with it, and a text was written by one"
    assert _would_lack([CAPTURE, RUN, TEXT], SHELF) == []
    assert _without_parts([RUN, ADAPTER], SHELF) == [RUN]


def test_words() -> None:
    assert kinds_in_words([TEXT, CAPTURE, TEXT]) == "1 capture and 2 texts"
    assert (size_in_words(0), size_in_words(1), size_in_words(2.5e6), size_in_words(3e9)) == (
        "0 KB",
        "1 KB",
        "2.5 MB",
        "3.0 GB",
    )
    assert summary(list(SHELF.things.values()), SHELF).endswith("All can be read, and what they stand on is here.")
    lacking = Shelf({TEXT.ref: TEXT, CAPTURE.ref: CAPTURE})
    assert condition(TEXT, lacking) == "△ 1 gone"
    assert summary([TEXT, CAPTURE], lacking).endswith("But 1 thing stands on what is gone.")
    assert condition(thing("text", "d", problem="cut"), SHELF) == "✕ damaged"
    assert matches_words(TEXT, Label(tags=("Lecture",)), "lecture text")
    assert not matches_words(TEXT, None, "lecture")
