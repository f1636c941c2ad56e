"""Two evaluations: what they share, and the paired differences by hand."""

from pathlib import Path
from typing import Any

import pytest

from spd_core.evaluation.cells import write_cell
from spd_core.evaluation.compared import SharedCell, shared_cells
from spd_core.evaluation.table import Table, read_table
from spd_core.recipes.evaluation import evaluation_from
from tests.cells import likelihoods, put, records

BASE = [1, 0, 0, 0, 0] * 12
BETTER = [1, 1, 1, 0, 0] * 12


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))


def table(
    folder: Path, subjects: list[Any], cells: dict[str, Any], sets: list[Any] | None = None, **fields: Any
) -> Table:
    for name, items in cells.items():
        put(folder, name, items, **fields)
    return read_table(evaluation_from({"subjects": subjects, "sets": sets or ["arithmetic"]}), folder)


def by_name(found: tuple[SharedCell, ...]) -> dict[str, SharedCell]:
    return {one.first.subject.name: one for one in found}


def test_shared_cells_are_paired_item_by_item(tmp_path: Path) -> None:
    first = table(tmp_path / "a", ["base", "spd", "psr"], {"base": records(BASE), "spd": records(BASE)})
    put(tmp_path / "b", "base", records(BASE))
    cell = put(tmp_path / "b", "spd", records(BETTER))
    trained_anew = cell.about.model_copy(update={"subject": "another"})
    write_cell(tmp_path / "b", cell.model_copy(update={"about": trained_anew}), records(BETTER))
    second = read_table(evaluation_from({"subjects": ["base", "spd", "ssd"], "sets": ["arithmetic"]}), tmp_path / "b")
    found = by_name(shared_cells(first, second))
    assert set(found) == {"base", "spd"}
    base, spd = found["base"], found["spd"]
    assert (base.same_subject, base.same_items, base.p_adjusted, base.why) == (True, True, None, "")
    assert base.difference is not None
    assert base.difference.effect == 0
    assert (spd.same_subject, spd.same_items, spd.why) == (False, True, "")
    assert spd.difference is not None
    assert (spd.difference.gained, spd.difference.lost, spd.difference.n) == (24, 0, 60)
    assert spd.difference.p == pytest.approx(2 * 0.5**24)
    assert spd.p_adjusted == spd.difference.p, "the base in both is no comparison"
    assert spd.sentence.startswith("SPD on Arithmetic: +40.0 points (+")
    assert spd.sentence.endswith("n = 60, p < 0.001, < 0.001 after Holm.")
    assert base.sentence.endswith("; the same subject.")
    back = by_name(shared_cells(second, first))["spd"].difference
    assert back is not None
    assert back.effect == pytest.approx(-0.4), "second − first"


def test_a_longer_set_is_paired_on_what_both_have_answered(tmp_path: Path) -> None:
    first = table(tmp_path / "a", ["base"], {"base": records(BASE[:30])}, fingerprint="1" * 64)
    second = table(tmp_path / "b", ["base"], {"base": records(BETTER)}, fingerprint="2" * 64)
    (found,) = shared_cells(first, second)
    assert (found.same_items, found.why) == (False, "on the 30 items that both have answered, of 30 and 60")
    assert found.difference is not None
    assert (found.difference.n, found.difference.gained) == (30, 12)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"prompt": "edited"}, "no pairs: the items were put to the two in different ways, or were edited in between"),
        ({"id": "other"}, "no pairs: the two have answered different items"),
    ],
)
def test_other_items_are_told_unpaired(changed: dict[str, str], why: str, tmp_path: Path) -> None:
    first = table(tmp_path / "a", ["base"], {"base": records(BASE)})
    ((name, value),) = changed.items()
    other = [one.model_copy(update={name: f"{value} {one.id}"}) for one in records(BETTER)]
    second = table(tmp_path / "b", ["base"], {"base": other})
    (found,) = shared_cells(first, second)
    assert (found.difference, found.p_adjusted, found.why) == (None, None, why)
    assert found.sentence == (
        f"Base on Arithmetic: 20.0% (11.8 to 31.8, n = 60) and 60.0% (47.4 to 71.4, n = 60); {why}."
    )


def test_shares_and_nats_are_no_pairs(tmp_path: Path) -> None:
    first = table(tmp_path / "a", ["base"], {"base": records(BASE[:6])})
    second = table(tmp_path / "b", ["base"], {"base": likelihoods([1, 2, 3, 4, 5, 6])}, scorer="nll")
    (found,) = shared_cells(first, second)
    assert found.why == "no pairs: they are scored in different ways (number, version 1; nll, version 1)"


def test_a_subject_is_known_by_what_answered_whatever_it_is_called(tmp_path: Path) -> None:
    first = table(tmp_path / "a", ["base", "spd", "ssd"], {n: records(BASE) for n in ("base", "spd", "ssd")})
    named = [{"kind": "distilled", "arm": "ssd", "label": "spd"}, {"kind": "distilled", "arm": "psr", "label": "new"}]
    put(tmp_path / "b", "base", records(BASE))
    cell = put(tmp_path / "b", "spd", records(BETTER))
    write_cell(tmp_path / "b", cell.model_copy(update={"about": cell.about.model_copy(update={"subject": "ssd" * 8})}),
              records(BASE))  # fmt: skip
    put(tmp_path / "b", "new", records(BETTER))
    second = read_table(evaluation_from({"subjects": ["base", *named], "sets": ["arithmetic"]}), tmp_path / "b")
    pairs = {one.first.subject.name: one.second.subject.name for one in shared_cells(first, second)}
    assert pairs == {"base": "base", "ssd": "spd"}


def test_sets_are_known_by_what_they_hold_whatever_they_are_called(tmp_path: Path) -> None:
    first = table(tmp_path / "a", ["base"], {"base": records(BASE)})
    second = table(
        tmp_path / "b",
        ["base"],
        {"base": records(BASE)},
        [{"capability": "arithmetic", "label": "sums"}],
        set_name="sums",
    )
    assert len(shared_cells(first, second)) == 1


def test_seeds_are_pooled_and_told_and_their_spread_is_there(tmp_path: Path) -> None:
    first = table(tmp_path / "a", ["base", "spd"], {"base": records(BASE), "spd": records(BASE)})
    put(tmp_path / "b", "base", records(BASE), seed=1)
    put(tmp_path / "b", "spd", records(BASE), seed=1)
    put(tmp_path / "b", "spd", records(BETTER), seed=2)
    recipe = evaluation_from({"subjects": ["base", "spd"], "sets": ["arithmetic"], "seeds": [1, 2]})
    second = read_table(recipe, tmp_path / "b")
    assert second.answered["spd", "arithmetic"].by_seed == {1: pytest.approx(0.2), 2: pytest.approx(0.6)}
    found = by_name(shared_cells(first, second))["spd"]
    assert found.why == "seeds 42 and 1, 2"
    assert found.difference is not None
    assert found.difference.effect == pytest.approx(0.2), "half of the gain of one of two seeds"
