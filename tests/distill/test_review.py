"""What becomes of each row, row by row; length and diversity by hand; page and training divide a corpus alike."""

from typing import Any

import pytest

from spd_core.data.catalog import find_capability
from spd_core.distill.corpus import CorpusRow
from spd_core.distill.review import diversity, divide, divided_by
from spd_core.distill.rounds import RoundWork
from spd_core.recipes.distill import CorpusSettings, recipe_from


def row(number: int, id: str, completion: str = "", **facts: Any) -> CorpusRow:
    return CorpusRow(**{
        "number": number, "id": id, "sample": 0, "prompt": f"Q {id}", "special": True, "completion": completion or id,
        "tokens": (number, number + 1, number + 2), "finish": "eos", **facts,
    })  # fmt: skip


PROMPTS = {"a": "alpha", "b": "beta", "c": "gamma", "d": "delta", "e": "epsilon"}


def test_every_row_has_one_fate_and_the_first_reason_is_told() -> None:
    rows = [
        row(0, "a"), row(1, "b", " ", tokens=()), row(2, "c"), row(3, "d"), row(4, "e"),
        row(5, "a", "again"), row(6, "a", "again"), row(7, "e", " ", tokens=()),
    ]  # fmt: skip
    found = divide(rows, {2}, CorpusSettings(held_out=2), PROMPTS, ["Beta!", "  DELTA  "])
    assert found.fates == {
        0: "trained", 1: "leakage", 2: "rejected", 3: "leakage", 4: "held out",
        5: "trained", 6: "duplicate", 7: "empty",
    }  # fmt: skip
    assert [one.number for one in found.trained] == [0, 5]


def test_rejecting_the_first_of_two_alike_trains_on_the_second() -> None:
    rows = [row(0, "a", "same"), row(1, "a", "same")]
    settings = CorpusSettings()
    assert divide(rows, (), settings, PROMPTS).fates == {0: "trained", 1: "duplicate"}
    assert divide(rows, {0}, settings, PROMPTS).fates == {0: "rejected", 1: "trained"}


def test_without_held_out_prompts_all_are_trained_on() -> None:
    assert divide([row(0, "a")], (), CorpusSettings(held_out=0), PROMPTS).fates == {0: "trained"}


def test_the_page_divides_as_the_training_does() -> None:
    recipe = recipe_from({"capability": "arithmetic", "corpus": {"prompts": 12, "held_out": 3}})
    examples = find_capability("arithmetic", split="train").limited(12).examples
    rows = [row(i, one.id, one.answer if i % 3 else "", prompt=one.prompt) for i, one in enumerate(examples)]
    rejected = {1, 2, 11}
    seen = divided_by(recipe, rows, rejected)
    work = RoundWork(recipe, folder=None, rejected={"psr": rejected})  # type: ignore[arg-type]
    assert work.cleaned(rows, "psr") == (list(seen.trained), list(seen.held_out))


def test_rows_of_an_example_that_is_gone_have_no_fate() -> None:
    recipe = recipe_from({"capability": "arithmetic", "corpus": {"prompts": 12}})
    assert divided_by(recipe, [row(0, "no such example")], ()).fates == {}


def test_length_and_diversity_by_hand() -> None:
    rows = [
        row(0, "a", "x", tokens=(1, 2, 1, 2)),  # bigrams 12 21 12
        row(1, "b", "y", tokens=(1, 2)),  # 12
        row(2, "c", "y", tokens=(3,), finish="length"),
    ]
    found = diversity(rows)
    assert found is not None
    assert (found.rows, found.unique, found.median_length) == (3, 2, 2)
    assert found.mean_length == pytest.approx(7 / 3)
    assert found.distinct_1 == pytest.approx(3 / 7), "1, 2 and 3 of seven tokens"
    assert found.distinct_2 == pytest.approx(2 / 4), "12 and 21 of four pairs"
    assert found.ended == pytest.approx(2 / 3)


def test_an_empty_corpus_and_empty_completions() -> None:
    assert diversity([]) is None
    found = diversity([row(0, "a", " ", tokens=())])
    assert found is not None
    assert (found.distinct_1, found.distinct_2, found.mean_length) == (None, None, 0)
