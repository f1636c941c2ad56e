"""How much was written to train each arm: read from the adapters that answered, in every form of a table."""

import csv
import io
from pathlib import Path

import pytest

from spd_core.evaluation.budgets import Budget, unequal
from spd_core.evaluation.latex import to_latex
from spd_core.evaluation.report import frame, grid, notes, to_markdown
from spd_core.evaluation.table import read_table
from spd_core.intervention.cards import AdapterCard, write_card
from spd_core.recipes.distill import ArmName, Recipe, TrainSettings
from spd_core.recipes.evaluation import NAMED, evaluation_from
from spd_core.runs import queue
from tests.cells import put, records

RIGHT = [1, 0, 0, 0, 0] * 12
OMNIOPD, ON_POLICY = NAMED["omniopd"], NAMED["on-policy"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", lambda: [])


def adapter(arm: ArmName, written: int | None, taught: int | None = None) -> str:
    """The name of an adapter of a run of its own, of which only the card is there."""
    run = queue.create(Recipe(capability="arithmetic", arms=(arm,)), "")
    card = AdapterCard(
        run=run.id, arm=arm, base="builtin", revision="r", dtype="float32", rows=8, steps=2, planned=2, finished=True,
        written=written, taught=taught, settings=TrainSettings(), created="2026-11-29T10:00:00", versions={},
    )  # fmt: skip
    folder = run.folder / "adapters" / arm
    folder.mkdir(parents=True)
    write_card(card, folder)
    return card.ref


def test_every_form_says_what_was_written_to_train(tmp_path: Path) -> None:
    put(tmp_path, "base", records(RIGHT))
    put(tmp_path, "omniopd", records(RIGHT), adapter=adapter("omniopd", 1000, 12_000))
    put(tmp_path, "on-policy", records(RIGHT), adapter=adapter("on-policy", 1040))
    put(tmp_path, "spd", records(RIGHT), adapter=adapter("spd", None))
    put(tmp_path, "psr", records(RIGHT), adapter="20200101-000000-gone/psr")
    asked = {"subjects": ["base", "omniopd", "on-policy", "spd", "psr"], "sets": ["arithmetic"]}
    table = read_table(evaluation_from(asked), tmp_path)
    assert table.budgets == {"omniopd": Budget(1000, 12_000), "on-policy": Budget(1040)}
    column = [row["Tokens written to train it"] for row in grid(table)]
    assert column == ["–", "1,000 + 12,000 by its teacher", "1,040", "–", "–"]
    (said,) = [one for one in notes(table) if one.startswith("Not at equal")]
    assert "13,000 for OmniOPD, 12,000 of them by its teacher" in said
    assert "12 times the 1,040 for On-policy SPD" in said, "13,000 ÷ 1,040 = 12.5"
    rows = {row["subject"]: row for row in csv.DictReader(io.StringIO(frame(table).to_csv(index=False)))}
    assert float(rows["OmniOPD"]["tokens_of_its_teacher"]) == 12_000
    assert rows["Base"]["tokens_written_to_train"] == ""
    assert "1,000 + 12,000 by its teacher" in to_markdown(table)
    assert "1,000 + 12,000 by its teacher" in to_latex(table)


def test_a_table_of_adapters_that_do_not_say_is_as_it_was(tmp_path: Path) -> None:
    put(tmp_path, "base", records(RIGHT))
    put(tmp_path, "spd", records(RIGHT), adapter=adapter("spd", None))
    table = read_table(evaluation_from({"subjects": ["base", "spd"], "sets": ["arithmetic"]}), tmp_path)
    assert table.budgets == {}
    assert [list(row) for row in grid(table)] == [["Arm", "Arithmetic"]] * 2


def test_of_several_seeds_it_is_the_mean(tmp_path: Path) -> None:
    put(tmp_path, "base", records(RIGHT), seed=1)
    for seed, written, taught in ((1, 100, 1000), (2, 300, 1400)):
        put(tmp_path, "omniopd", records(RIGHT), seed=seed, adapter=adapter("omniopd", written, taught))
    asked = {"subjects": ["base", "omniopd"], "sets": ["arithmetic"], "seeds": [1, 2]}
    assert read_table(evaluation_from(asked), tmp_path).budgets == {"omniopd": Budget(200, 1200)}


@pytest.mark.parametrize(
    ("omniopd", "on_policy", "said"),
    [
        (Budget(100, 199), Budget(100), ""),  # 2.99 times
        (Budget(100, 200), Budget(100), "is 3.0 times the 100 for On-policy SPD"),
        (Budget(100), Budget(900), "900 for On-policy SPD, which is 9.0 times the 100 for OmniOPD"),
        (Budget(0, 0), Budget(0), ""),
    ],
)
def test_what_counts_as_unequal(omniopd: Budget, on_policy: Budget, said: str) -> None:
    found = unequal((OMNIOPD, ON_POLICY), {"omniopd": omniopd, "on-policy": on_policy})
    assert said in found
    assert bool(found) == bool(said)
    assert unequal((OMNIOPD, ON_POLICY), {"omniopd": omniopd}) == ""
