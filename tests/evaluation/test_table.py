"""The table against hand counts: values, pairing by item, Holm over all comparisons, which control belongs to whom."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from spd_core.evaluation.cells import read_cell
from spd_core.evaluation.contamination import unseen_numbers
from spd_core.evaluation.controls import role
from spd_core.evaluation.table import read_table
from spd_core.recipes.evaluation import CONTROLS, NAMED, EvaluationRecipe, Subject, evaluation_from
from tests.cells import likelihoods, put, records

BASE = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0] * 6  # 12 of 60
BETTER = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0] * 6  # 24 of 60: 12 gained, none lost
OTHER = [0, 1, 1, 0, 0, 0, 0, 0, 0, 0] * 6  # 12 of 60: 6 gained, 6 lost


def recipe_of(*subjects: object, **more: object) -> EvaluationRecipe:
    return evaluation_from({"subjects": list(subjects), "sets": ["arithmetic"], **more})


def test_values_and_differences_by_hand(tmp_path: Path) -> None:
    for name, right in (("base", BASE), ("spd", BETTER), ("random", OTHER)):
        put(tmp_path, name, records(right))
    table = read_table(recipe_of("base", "spd", "random"), tmp_path)
    assert (table.done, table.planned) == (3, 3)
    assert table.answered["spd", "arithmetic"].estimate.value == pytest.approx(24 / 60)
    found = table.claims["spd", "arithmetic"]
    assert (found.difference.gained, found.difference.lost, found.difference.n) == (12, 0, 60)
    assert found.difference.effect == pytest.approx(0.2)
    assert found.difference.p == pytest.approx(2 * 0.5**12)  # exact McNemar: 12 of 12 discordant pairs one way
    assert found.p_adjusted == pytest.approx(2 * 2 * 0.5**12)  # Holm: the smaller of two
    assert table.claims["random", "arithmetic"].p_adjusted == 1
    assert found.headline == "helps"
    states = {control.name: control.state for control in found.controls}
    assert states == {
        "Random subspace": "passed", "Full-loss subspace": "not run", "Shuffled answers": "not run", "SSD": "not run",
        "PSR": "not run",
    }  # fmt: skip
    control = next(control.difference for control in found.controls if control.difference is not None)
    assert (control.gained, control.lost) == (12, 0)  # BETTER against OTHER: the 1st and 4th of each ten
    assert found.weakest == "not run", "three controls"
    assert found.comparisons == 2


def test_a_control_that_does_as_well_is_not_passed(tmp_path: Path) -> None:
    for name, right in (("base", BASE), ("projected", BETTER), ("projected-random", BETTER)):
        put(tmp_path, name, records(right))
    found = read_table(recipe_of("base", "projected", "projected-random"), tmp_path).claims["projected", "arithmetic"]
    assert found.headline == "helps"
    assert [control.state for control in found.controls] == ["not shown", "not run", "not run"]
    assert found.weakest == "not shown"


def test_a_gain_that_comes_from_stopping_alone_is_flagged(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE, early=True))  # right every time, had it stopped
    put(tmp_path, "spd", records(BETTER, early=True))
    (found,) = read_table(recipe_of("base", "spd"), tmp_path).claims.values()
    assert any(flag.startswith("stops early: +20.0 percentage points, but 0.0") for flag in found.flags)


def test_a_format_that_got_better_is_flagged(tmp_path: Path) -> None:
    unread = [item.model_copy(update={"extracted": None}) for item in records(BASE)]
    put(tmp_path, "base", unread)
    put(tmp_path, "spd", records(BETTER))
    table = read_table(recipe_of("base", "spd"), tmp_path)
    assert (table.answered["base", "arithmetic"].share("read"), table.answered["spd", "arithmetic"].share("read")) == (
        0,
        1,
    )
    assert any(flag.startswith("format: ") for flag in table.claims["spd", "arithmetic"].flags)


def test_seeds_are_pooled_by_item(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE))
    put(tmp_path, "spd", records(BETTER), seed=1)
    put(tmp_path, "spd", records(OTHER), seed=2)
    put(tmp_path, "base", records(BASE), seed=1)
    table = read_table(recipe_of("base", "spd", seeds=[1, 2]), tmp_path)
    one = table.answered["spd", "arithmetic"]
    assert one.scores.shape == (2, 60)
    assert (one.estimate.value, one.estimate.n, one.estimate.seeds) == (pytest.approx(18 / 60), 60, 2)
    found = table.claims["spd", "arithmetic"].difference
    assert (found.effect, found.n) == (pytest.approx(0.1), 60)
    assert (found.gained, found.lost) == (12, 6)  # by item: 3rd ↑ (1, ½·2), 4th ↑ ½, 1st ↓ ½ of each ten


def test_a_subject_counts_when_all_its_seeds_are_there(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE), seed=1)
    put(tmp_path, "spd", records(BETTER), seed=1)
    table = read_table(recipe_of("base", "spd", seeds=[1, 2]), tmp_path)
    assert (table.done, table.planned, list(table.answered)) == (2, 3, [("base", "arithmetic")])
    assert table.claims == {}


def test_likelihoods_are_lower_better_and_in_nats(tmp_path: Path) -> None:
    put(tmp_path, "base", likelihoods([1.0 + i / 10 for i in range(12)]), scorer="nll")
    put(tmp_path, "spd", likelihoods([0.9 + i / 10 for i in range(12)]), scorer="nll")
    table = read_table(recipe_of("base", "spd"), tmp_path)
    assert table.columns[0].likelihood
    assert table.answered["base", "arithmetic"].estimate.value == pytest.approx(1.55)
    found = table.claims["spd", "arithmetic"]
    assert found.difference.effect == pytest.approx(-0.1)
    assert found.difference.p == pytest.approx(2 / 2**12)  # exact sign flips: all twelve fell
    assert (found.headline, found.lower_is_better) == ("helps", True)


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    table = read_table(recipe_of("base", "spd"), tmp_path)
    assert (table.done, table.planned, dict(table.answered), dict(table.claims)) == (0, 2, {}, {})
    assert [column.title for column in table.columns] == ["arithmetic"]


def test_each_item_lies_on_disk_once_and_its_loss_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    first, second = records(BASE), records(BASE, reason="another answer to the same questions")
    for folder, items in (("one", first), ("again", first), ("other", second)):
        put(tmp_path / folder, "base", items)
    (lines,) = (tmp_path / "home" / "evaluations").glob("*/items.jsonl")
    assert len(lines.read_text().splitlines()) == len(first) + len(second)
    assert [path.suffix for path in (tmp_path / "one" / "cells").iterdir()] == [".json"]
    for folder, items in (("one", first), ("again", first), ("other", second)):
        found = read_cell(tmp_path / folder, "base", 42, "arithmetic")
        assert found is not None
        assert found[1] == items
    lines.write_text("".join(lines.read_text().splitlines(keepends=True)[1:]))
    (damaged,) = read_table(recipe_of("base"), tmp_path / "one").damaged
    assert re.match(r"1 of \d+ items of .*base--42--arithmetic.json are damaged or gone", damaged.reason)


def test_cells_that_kept_their_items_beside_them_are_read(tmp_path: Path) -> None:
    """As versions before November 2026 wrote them."""
    put(tmp_path, "base", records(BASE))
    path = tmp_path / "cells" / "base--42--arithmetic.json"
    old = {**json.loads(path.read_text()), "format": 1}
    del old["items"], old["adapter"]
    path.write_text(json.dumps(old))
    path.with_suffix(".jsonl").write_text("".join(one.model_dump_json() + "\n" for one in records(BETTER)))
    found = read_cell(tmp_path, "base", 42, "arithmetic")
    assert found is not None
    assert found[1] == records(BETTER)
    path.with_suffix(".jsonl").write_text("{\n")
    (damaged,) = read_table(recipe_of("base", "spd"), tmp_path).damaged
    assert "base--42--arithmetic.jsonl, line 1" in damaged.reason


def test_every_control_is_a_subject_that_can_be_named() -> None:
    for subject, controls in CONTROLS.items():
        assert role(NAMED[subject]) == subject
        assert {role(NAMED[control]) for control in controls} == set(controls)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (Subject(kind="distilled", adapter="run1/spd"), "spd"),
        (Subject(kind="projected", rank="8", strength=0.5), "projected"),
        (Subject(kind="projected", of="random", capture="mine"), "projected-random"),
        (Subject(kind="projected", label="My own"), "projected"),
        (Subject(kind="projected", complement=True), ""),
        (Subject(kind="projected", complement=True, label="SPD"), ""),
        (Subject(kind="checkpoint", model="/x/folded", label="Random"), ""),
    ],
)
def test_a_subject_plays_its_role_whatever_it_is_called(subject: Subject, name: str) -> None:
    assert role(subject) == name


def test_a_control_of_another_strength_is_no_control(tmp_path: Path) -> None:
    weak = {"kind": "projected", "of": "random", "strength": 0.1, "label": "weak"}
    for name in ("base", "projected", "weak"):
        put(tmp_path, name, records(BETTER if name == "projected" else BASE))
    found = read_table(recipe_of("base", "projected", weak), tmp_path).claims["projected", "arithmetic"]
    assert {control.state for control in found.controls} == {"not run"}


def test_adapters_are_controls_of_each_other_within_a_run(tmp_path: Path) -> None:
    subjects = ["base", "run1/spd", "run1/random", "run2/random"]
    for name, right in (("base", BASE), ("run1-spd", BETTER), ("run1-random", BASE), ("run2-random", BETTER)):
        put(tmp_path, name, records(right))
    found = read_table(recipe_of(*subjects), tmp_path).claims["run1-spd", "arithmetic"]
    first = found.controls[0]
    assert (first.name, first.state) == ("Random subspace (run1)", "passed")


def test_holm_counts_comparisons_that_are_still_to_come(tmp_path: Path) -> None:
    for name, right in (("base", BASE), ("spd", BETTER)):
        put(tmp_path, name, records(right))
    found = read_table(recipe_of("base", "spd", "ssd", "psr", "random"), tmp_path).claims["spd", "arithmetic"]
    assert (found.comparisons, found.p_adjusted) == (4, pytest.approx(4 * 2 * 0.5**12))


def test_without_the_items_that_were_trained_on_the_effect_may_be_another(tmp_path: Path) -> None:
    """All 12 gains are on items that SPD had seen: on the 48 others nothing changed."""
    put(tmp_path, "base", records(BASE), seen=0)
    gained = [f"i{at}" for at, (one, other) in enumerate(zip(BASE, BETTER, strict=True)) if one != other]
    put(tmp_path, "spd", records(BETTER), seen=12, seen_items=tuple(gained))
    found = read_table(recipe_of("base", "spd"), tmp_path).claims["spd", "arithmetic"]
    assert found.headline == "helps"
    low, high = (100 * end for end in (wilson_of_no_change(48)))
    assert found.flags == (
        "contaminated: SPD was calibrated or trained on 12 of these 60 items",
        f"unseen items: 0.0 percentage points (95% interval −{high:.1f} to +{high:.1f}) on the 48 others, p = 1",
    )
    assert low == 0


def wilson_of_no_change(n: int) -> tuple[float, float]:
    """Tango's interval without a discordant pair has the ends ± z² / (n + z²), as Wilson's of 0 of n has."""
    z = 1.959963984540054
    return 0, z**2 / (n + z**2)


@pytest.mark.parametrize("fields", [{"seen": 0}, {"seen": None}, {"seen": 12}, {"seen": 60}])
def test_without_knowing_which_items_were_seen_no_other_effect_is_told(fields: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE), seen=0)
    all_items = {"seen_items": tuple(f"i{at}" for at in range(60))} if fields["seen"] == 60 else {}
    put(tmp_path, "spd", records(BETTER), **fields, **all_items)
    found = read_table(recipe_of("base", "spd"), tmp_path).claims["spd", "arithmetic"]
    assert not any(flag.startswith("unseen items") for flag in found.flags)


@pytest.mark.parametrize("fields", [{"seen": None}, {"seen": 0, "format": 2}])
def test_where_one_seed_does_not_say_what_it_had_seen_no_item_counts_as_unseen(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    known = put(tmp_path, "spd", records(BETTER), seen=1, seen_items=("i1",))
    assert unseen_numbers(["i0", "i1"], [known]) == [0]
    assert (
        unseen_numbers(["i0", "i1"], [known, known.model_copy(update={"seed": 7, "seen_items": (), **fields})]) is None
    )
