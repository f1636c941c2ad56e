"""Rows of a corpus are marked right or wrong by their capability's scorer; code is not run unless somebody may."""

from collections.abc import Sequence

import pytest

from spd_core.data.capability import Capability, Example, RegexSpans, Settings
from spd_core.distill.corpus import CorpusRow
from spd_core.errors import Stopped
from spd_core.evaluation.marks import marks, marks_where_allowed
from spd_core.sandbox.run import Verdict


def row(number: int, id: str, completion: str) -> CorpusRow:
    return CorpusRow(number=number, id=id, sample=0, prompt="Q", special=True, completion=completion, tokens=(1,),
                     finish="eos")  # fmt: skip


def capability(scorer: str, **answers: str) -> Capability:
    settings = Settings(capability="c", scorer=scorer, spans=RegexSpans(regex="x"), template="Q: {prompt}")  # type: ignore[arg-type]
    tests = ("assert one() == 1",) if scorer == "python" else ()
    examples = tuple(Example(id=id, prompt="p", answer=answer, tests=tests) for id, answer in answers.items())
    return Capability(settings, examples)


def test_numbers_by_hand() -> None:
    rows = [row(0, "a", "It is 12."), row(1, "a", "21"), row(2, "b", "none"), row(3, "gone", "12")]
    assert marks(rows, capability("number", a="12", b="3")) == {0: True, 1: False, 2: False}


def test_likelihood_marks_nothing_and_code_only_with_a_runner() -> None:
    asked: list[str] = []

    def run(code: str, tests: Sequence[str], setup: str, reference: str) -> Verdict:
        asked.append(code)
        return Verdict("1" in code, "")

    rows = [row(0, "a", "def one():\n    return 1\n"), row(1, "a", "def one():\n    return 2\n")]
    assert marks(rows, capability("nll", a="12"), run) == {}
    assert marks(rows, capability("python", a="x")) == {}
    assert asked == []
    assert marks(rows, capability("python", a="x"), run) == {0: True, 1: False}
    assert len(asked) == 2


def test_code_is_marked_only_where_it_is_allowed_and_can_be_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, known = [row(0, "a", "def one():\n    return 1\n")], capability("python", a="def one(): return 1")
    monkeypatch.delenv("SPD_ALLOW_CODE", raising=False)
    assert marks_where_allowed(rows, known) == {}
    assert marks_where_allowed([row(0, "a", "12")], capability("number", a="12")) == {0: True}, "text is only read"
    monkeypatch.setenv("SPD_ALLOW_CODE", "1")
    monkeypatch.setattr("spd_core.evaluation.marks.run_tests", lambda *_: Verdict(True, ""))
    monkeypatch.setattr("spd_core.evaluation.marks.check_isolation", lambda: "no Landlock here")
    assert marks_where_allowed(rows, known) == {}
    monkeypatch.setattr("spd_core.evaluation.marks.check_isolation", lambda: "")
    assert marks_where_allowed(rows, known) == {0: True}


def test_it_stops_when_told_to() -> None:
    with pytest.raises(Stopped):
        marks([row(0, "a", "1"), row(1, "a", "1")], capability("number", a="1"), tell=lambda done: done < 1)
