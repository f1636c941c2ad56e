"""Under what records are kept: whatever an answer depends on, as versions before computed it."""

from spd_core.evaluation.store import SCORING, About

ABOUT = About(subject="s", set="x", template="t", scorer="number", style="raw", max_new_tokens=5)


def test_records_of_an_older_scoring_are_not_read() -> None:
    assert ABOUT.scoring == SCORING
    assert ABOUT.model_copy(update={"scoring": SCORING + 1}).key != ABOUT.key


def test_records_of_before_there_were_engines_are_still_found() -> None:
    """The key of an `About` of the version before, as that version computed it."""
    assert ABOUT.key == "1ae060ccb42a6a15ca6e26cf38b41031"
    assert ABOUT.model_copy(update={"writer": "vllm 0.32.0"}).key != ABOUT.key
