"""Several answers to each item: pass@k by counting all choices, pairing by item, and the same answers again."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spd_core.errors import InputError
from spd_core.evaluation.answers import evaluate
from spd_core.evaluation.cells import write_cell
from spd_core.evaluation.drawn import drawn_answers, drawn_sets, pass_at
from spd_core.evaluation.items import drawn_often, read_set
from spd_core.evaluation.report import drawn_rows, to_markdown
from spd_core.evaluation.store import ItemRecord, drawn_from
from spd_core.evaluation.table import paired_difference, read_table
from spd_core.generation.decode import generate
from spd_core.intervention.projection import Lane
from spd_core.recipes.evaluation import evaluation_from
from spd_core.recipes.sets import EvalSet
from tests.cells import put, records

RECIPE = evaluation_from(
    {"subjects": ["base", "projected"], "sets": [{"capability": "arithmetic", "samples": 4}], "seeds": [1]}
)
DRAWN = "temperature 0.7, top-p 0.9, seed 0"


def answers(right: list[list[int]], **fields: Any) -> list[ItemRecord]:
    """[items][samples] as records, the samples of an item beside each other."""
    made = records([one for item in right for one in item], **fields)
    ids = [f"i{at}#{k}" if k > 1 else f"i{at}" for at, item in enumerate(right) for k in range(1, len(item) + 1)]
    return [
        record.model_copy(update={"id": name, "prompt": drawn_from(name), "entropy": 0.5, "completion": f"{at % 3}"})
        for at, (record, name) in enumerate(zip(made, ids, strict=True))
    ]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_all_choices_that_hold_a_right_one(k: int) -> None:
    right = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 1, 0], [1, 1, 1, 1, 1]]).T  # [samples, n]
    by_hand = [np.mean([any(column[list(chosen)]) for chosen in combinations(range(5), k)]) for column in right.T]
    assert pass_at(right, k) == pytest.approx(by_hand)


@pytest.mark.parametrize("k", [0, 6])
def test_more_than_were_drawn_cannot_be_told(k: int) -> None:
    with pytest.raises(InputError, match=f"pass@{k} of 5 answers; choose k from 1 to 5"):
        pass_at(np.ones((5, 2)), k)


def cell(folder: Path, subject: str, right: list[list[int]], seed: int = 1) -> None:
    made, items = put(folder, subject, [], set_name="arithmetic-x4", seed=seed), answers(right)
    write_cell(folder, made.model_copy(update={"about": made.about.model_copy(update={"sampling": DRAWN})}), items)


def test_the_item_is_the_unit_and_its_answers_are_averaged(tmp_path: Path) -> None:
    base, better = [[1, 0, 0, 0], [0, 0, 0, 0]] * 10, [[1, 1, 0, 0], [1, 0, 0, 0]] * 10
    cell(tmp_path, "base", base)
    cell(tmp_path, "projected", better)
    table = read_table(RECIPE, tmp_path)
    one, other = (table.answered[name, "arithmetic-x4"] for name in ("base", "projected"))
    assert (one.samples, one.estimate.n, other.estimate.value) == (4, 20, 3 / 8)
    assert one.ids == [f"i{at}" for at in range(20)]
    found = paired_difference(one, other)
    assert (found.n, found.effect, found.gained, found.lost) == (20, pytest.approx(1 / 4), 20, 0)
    assert other.by_seed == {1: 3 / 8}
    (column,) = drawn_sets(table)
    drawn = drawn_answers(table, column)
    assert [one.answered.subject.name for one in drawn] == ["base", "projected"]
    assert drawn[0].passed[1].value == pytest.approx(1 / 8)
    assert drawn[0].passed[4].value == pytest.approx(1 / 2)
    assert drawn[1].passed[4].value == 1
    assert drawn[1].beyond_base is not None
    assert drawn[1].beyond_base.effect == pytest.approx(1 / 2)
    assert drawn[0].entropy == 0.5
    rows = drawn_rows(table, column)
    assert rows[1]["pass@4 − base"].startswith("+50.0 points (")
    assert "### Several answers to each item of" in to_markdown(table)


def test_names_tell_drawn_answers_apart() -> None:
    assert [drawn_from(name) for name in ("a", "a#2", "a#b", "a#1#12")] == ["a", "a", "a#b", "a#1"]
    assert RECIPE.sets[0].name == "arithmetic-x4"
    assert EvalSet(capability="arithmetic").model_dump().keys().isdisjoint({"samples", "temperature", "top_p"})
    with pytest.raises(ValueError, match="asked as its task says; leave samples out"):
        EvalSet(capability="harness:arc", samples=2)


def test_answers_are_those_of_their_numbers_and_are_only_read_again(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    lm, wanted = tiny_lm("llama"), EvalSet(capability="arithmetic", limit=3, samples=4, max_new_tokens=6)
    items = read_set(wanted)
    assert [one.id for one in items.capability.examples[:5]] == [
        one.id for one in drawn_often(items.capability.examples[0], 4)
    ] + [items.capability.examples[4].id]
    found = evaluate(lm, Lane(), items, "f", batch_size=5)
    assert (len(found.records), found.reused) == (12, 0)
    asked = items.prompts(lm)
    prompts, numbers = [one.prompt for one in asked], [one.number for one in asked]
    alone = generate(lm, prompts, [Lane()], wanted.drawn(6), batch_size=1, numbers=numbers)
    assert [record.completion for record in found.records] == [one.text for one in alone]
    assert len({record.completion for record in found.records[:4]}) > 1, "each has noise of its own"
    assert all(record.entropy is not None and record.entropy > 0 for record in found.records)
    again = evaluate(lm, Lane(), items, "f", batch_size=5)
    assert (again.records, again.reused, again.tokens) == (found.records, 12, 0)
    greedy = read_set(EvalSet(capability="arithmetic", limit=3, max_new_tokens=6))
    assert greedy.about("f").key != items.about("f").key
    assert evaluate(lm, Lane(), greedy, "f").records[0].entropy is None
