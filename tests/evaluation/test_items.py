"""A set that is ready to be asked: which items it has, and under what their answers are kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.data.capability import INSTRUCTION
from spd_core.errors import InputError
from spd_core.evaluation.answers import evaluate
from spd_core.evaluation.items import Items, fit_to
from spd_core.intervention.projection import Lane
from tests.sets import items_of, written


def test_a_set_is_limited_and_what_its_scorer_cannot_score_is_left_out(tmp_path: Path) -> None:
    rows = [{"id": str(i), "split": "heldout", "prompt": "p", "answer": answer}
            for i, answer in enumerate(["1", "none at all", "3", "4"])]  # fmt: skip
    found = items_of(written(tmp_path / "mixed.jsonl", rows), limit=3)
    assert [example.id for example in found.capability.examples] == ["0", "2"]
    assert found.unfit == ("1",)


def test_a_scorer_that_fits_no_item_is_refused(tmp_path: Path) -> None:
    rows = [{"split": "heldout", "prompt": "p", "answer": "no number"}]
    with pytest.raises(InputError, match="wordy.*number"):
        items_of(written(tmp_path / "wordy.jsonl", rows))


def test_a_set_without_held_out_items_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "trained.jsonl", [{"split": "train", "prompt": "p", "answer": "1"}])
    with pytest.raises(InputError, match="trained has no heldout examples; mark some"):
        items_of(path)


def test_an_item_without_an_answer_is_refused_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "open.jsonl", [{"split": "heldout", "prompt": "p"}])
    with pytest.raises(InputError, match=r"open.jsonl, line 2: answer: Field required"):
        items_of(path)


@pytest.mark.parametrize(
    "change", [{"subject": "g"}, {"style": "chat"}, {"new_tokens": 5}, {"template": "Say {prompt}:"}]
)
def test_whatever_records_depend_on_keeps_them_apart(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = [{"id": "i", "split": "heldout", "prompt": "1 and 1", "answer": "2"}]
    items = items_of(written(tmp_path / "sums.jsonl", rows))
    settings = items.capability.settings.model_copy(update={"template": change.get("template", "Q: {prompt}\nA:")})
    other = Items(items.name, type(items.capability)(settings, items.capability.examples),
                  change.get("style", "raw"), change.get("new_tokens", 6))  # fmt: skip
    assert other.about(change.get("subject", "f")).key != items.about("f").key


def test_items_too_long_for_the_model_are_left_out_before_anybody_answers(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    lm = tiny_lm("llama")
    answers = {"short": "x = 1", "long": "y" * 300}
    rows = [{"id": k, "split": "heldout", "prompt": "Do it.", "answer": v} for k, v in answers.items()]
    items = fit_to(lm, items_of(written(tmp_path / "code.jsonl", rows, template=INSTRUCTION, scorer="nll")))
    assert ([example.id for example in items.capability.examples], items.unfit) == (["short"], ("long",))
    assert evaluate(lm, Lane(), items, "f").whole
    rows = rows[1:]
    with pytest.raises(InputError, match="code: no item has an answer within 256 tokens; choose another set"):
        fit_to(lm, items_of(written(tmp_path / "code.jsonl", rows, template=INSTRUCTION, scorer="nll")))
