"""What is proposed next keeps all that was asked before, so that only what is new is answered; and nothing unlike is
called a control."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.data.capability import read_builtin
from spd_core.distill.pipeline import carry_out
from spd_core.distill.trained import note_sources
from spd_core.errors import InputError
from spd_core.evaluation.fill import carry_out_table
from spd_core.evaluation.proposals import (
    evaluation_of,
    finished_arms,
    items_of,
    missing_controls,
    why_by_name,
    why_no_control,
    with_controls,
    with_items,
)
from spd_core.evaluation.statistics import Difference, detectable_with, minimum_detectable, paired
from spd_core.evaluation.table import read_table
from spd_core.intervention.cards import AdapterCard, read_card, write_card
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.evaluation import NAMED, EvaluationRecipe, Subject, evaluation_from
from spd_core.recipes.sets import EvalSet
from spd_core.runs import queue
from spd_core.runs.events import CellDone
from spd_core.runs.folder import Run, all_runs, recorded_runs
from spd_core.runs.job import run_job
from spd_core.runs.record import State
from tests.cells import put, records

CONTROLS_OF_SPD = ["random", "full", "shuffled", "ssd", "psr"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SPD_HOME without runs or records."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text(read_builtin("arithmetic").to_jsonl())
    return path


def distilled(capability: Path | str, *arms: str, state: State = "done", **changes: Any) -> Run:
    """A run as it stands when it has trained these arms."""
    recipe = recipe_from({"preset": "quick", "capability": str(capability), "arms": list(arms), **changes})
    run = queue.create_here(recipe)
    note_sources(recipe, run.folder)
    for arm in recipe.arms:
        card = AdapterCard(
            run=run.id, arm=arm, base="builtin", revision="r", dtype="float32", rows=9, steps=2, planned=2,
            finished=True, settings=recipe.train, created="2026-11-27T12:00:00", versions={}, rounds=recipe.rounds,
        )  # fmt: skip
        write_card(card, run.folder / "adapters" / arm)
    run.write_status(run.status().model_copy(update={"state": state, "job": None, "launcher": None}))
    return run


def names(subjects: Any) -> list[str]:
    return [one.name for one in subjects]


# --- of a run ------------------------------------------------------------------------------------------------


def test_the_evaluation_of_a_run_has_its_settings_and_the_controls_of_spd(sums: Path) -> None:
    run = distilled(sums, "spd", "ssd", "apple", rounds=2, seed=7, train={"seed": 7, "epochs": 3})
    found = evaluation_of(run)
    assert names(found.subjects) == ["base", "spd", "ssd", "apple", "random", "full", "shuffled", "psr"]
    assert (found.capability, found.sets) == (str(sums), (EvalSet(capability=str(sums)),))
    asked, own = found.distillation(7), run.record.distillation
    assert asked is not None
    assert asked.model_copy(update={"arms": own.arms, "drift": own.drift}) == own, "found where they were trained"
    assert why_by_name(run) == ""
    assert missing_controls(found, "spd") == ()


def test_without_spd_no_control_is_added(sums: Path) -> None:
    assert names(evaluation_of(distilled(sums, "psr", "ssd")).subjects) == ["base", "psr", "ssd"]


def test_a_public_set_is_asked_where_it_has_items() -> None:
    (asked,) = evaluation_of(distilled("codealpaca", "psr")).sets
    assert (asked.capability, asked.split) == ("codealpaca", "train")


def test_a_run_without_a_finished_arm_has_no_evaluation(sums: Path) -> None:
    run = distilled(sums, "spd", state="stopped")
    (run.folder / "adapters" / "spd" / "card.json").unlink()
    with pytest.raises(InputError, match=f"{run.id} has trained no arm to its end; resume it first"):
        evaluation_of(run)


def test_a_recorded_run_has_no_weights_that_could_answer() -> None:
    run = next(run for run in recorded_runs() if isinstance(run.record.recipe, Recipe))
    with pytest.raises(InputError, match=f"{run.id} is a recorded run.*start a run of your own with its settings"):
        evaluation_of(run)


def test_an_arm_whose_later_rounds_are_still_to_come_has_not_finished(sums: Path) -> None:
    """What it has learned so far lies where other arms have all that they learned."""
    run = distilled(sums, "spd", "ssd", state="stopped", rounds=2)
    first = run.folder / "adapters" / "spd"
    write_card(read_card(first).model_copy(update={"rounds": 1}), first)
    assert finished_arms(run) == ("ssd",)
    assert by_name(run) == ["ssd"]


def by_name(run: Run) -> list[str]:
    assert why_by_name(run)
    return [one.adapter.removeprefix(f"{run.id}/") for one in evaluation_of(run).subjects[1:]]


def test_arms_that_cannot_be_found_by_their_settings_are_named(sums: Path) -> None:
    rejected = distilled(sums, "spd", "ssd")
    rejected.set_rejected({"spd": [1]})
    assert by_name(rejected) == ["spd", "ssd"]
    assert "were rejected by hand" in why_by_name(rejected)
    seeded = distilled(sums, "spd", train={"seed": 1})
    assert by_name(seeded) == ["spd"]
    assert "trained with the seed 1 what it wrote with the seed 42" in why_by_name(seeded)
    stopped = distilled(sums, "spd", state="stopped")
    assert by_name(stopped) == ["spd"]
    assert "is stopped" in why_by_name(stopped)
    edited = distilled(sums, "spd", rounds=3)
    assert why_by_name(edited) == ""
    sums.write_text(sums.read_text().replace("How many", "What number of"))
    assert by_name(edited) == ["spd"]
    assert "was edited since" in why_by_name(edited)


# --- controls ------------------------------------------------------------------------------------------------


def recipe_of(*subjects: Any, **more: Any) -> EvaluationRecipe:
    return evaluation_from({"subjects": ["base", *subjects], "sets": ["arithmetic"], **more})


def test_controls_that_are_missing_are_made_as_the_subject_is() -> None:
    recipe = recipe_of("spd", "ssd", {"kind": "projected", "rank": "8", "strength": 0.5, "kinds": ["key"]})
    assert names(missing_controls(recipe, "spd")) == ["random", "full", "shuffled", "psr"]
    found = missing_controls(recipe, "projected")
    assert [one.of for one in found] == ["random", "full loss", "shuffled answers"]
    assert {(one.rank, one.strength, one.kinds, one.layers) for one in found} == {("8", 0.5, ("key",), None)}
    assert missing_controls(recipe, "base") == missing_controls(recipe, "ssd") == ()
    more = with_controls(recipe, ["spd", "projected"])
    assert more.subjects[: len(recipe.subjects)] == recipe.subjects
    assert missing_controls(more, "spd") == missing_controls(more, "projected") == ()
    assert more.model_copy(update={"subjects": recipe.subjects}) == recipe, "nothing else is changed"
    assert why_no_control(recipe, "spd") == why_no_control(recipe, "projected") == ""
    with pytest.raises(InputError, match="no subject 'x'; there are base, spd, ssd, projected"):
        missing_controls(recipe, "x")


def test_a_control_whose_name_is_taken_says_whom_it_is_like() -> None:
    weak = {"kind": "projected", "strength": 0.1, "label": "weak"}
    more = with_controls(recipe_of("projected", "projected-random", weak), ["weak"])
    assert [one.title for one in more.subjects[4:]] == [
        "Projected, random subspace, as weak", "Projected, full-loss subspace", "Projected, shuffled answers",
    ]  # fmt: skip
    assert {one.strength for one in more.subjects[4:]} == {0.1}


def test_what_was_captured_before_has_a_random_control_alone() -> None:
    recipe = recipe_of({"kind": "projected", "capture": "mine"})
    (found,) = missing_controls(recipe, "projected-mine")
    assert (found.of, found.capture) == ("random", "mine")
    assert "Projected, full-loss subspace, Projected, shuffled answers: captured again, and mine" in why_no_control(
        recipe, "projected-mine"
    )


def test_an_adapter_gets_the_controls_of_its_run_then_of_others_then_new_arms(sums: Path) -> None:
    first = distilled(sums, "spd", "random")
    second = distilled(sums, "psr", "shuffled")
    distilled(sums, "full", train={"epochs": 9})  # made otherwise
    recipe = recipe_of(f"{first.id}/spd", capability=str(sums))
    wanted = {
        "random": f"{first.id}/random", "shuffled": f"{second.id}/shuffled", "psr": f"{second.id}/psr", "full": "",
        "ssd": "",
    }  # fmt: skip
    name = recipe.subjects[1].name
    found = missing_controls(recipe, name)
    assert {one.arm or one.adapter.partition("/")[2]: one.adapter for one in found} == wanted
    more = with_controls(recipe, [name])
    assert missing_controls(more, name) == ()
    assert (more.train, more.corpus, more.seeds) == (
        first.record.distillation.train, first.record.distillation.corpus, (42,))  # fmt: skip
    assert why_no_control(recipe, name) == ""


def test_new_arms_are_no_controls_where_the_evaluation_makes_arms_otherwise(sums: Path) -> None:
    first = distilled(sums, "spd", "random")
    recipe = recipe_of(f"{first.id}/spd", "ssd", capability=str(sums), train={"epochs": 9})
    name = recipe.subjects[1].name
    assert [one.adapter for one in missing_controls(recipe, name)] == [f"{first.id}/random"]
    assert "this evaluation trains its own arms with other settings" in why_no_control(recipe, name)
    assert with_controls(recipe, [name]).train.epochs == 9


def test_an_adapter_of_rejected_rows_has_the_controls_of_its_run_alone(sums: Path) -> None:
    first = distilled(sums, "spd", "random")
    distilled(sums, "psr")
    first.set_rejected({"spd": [3]})
    recipe = recipe_of(f"{first.id}/spd", capability=str(sums))
    name = recipe.subjects[1].name
    assert [one.adapter for one in missing_controls(recipe, name)] == [f"{first.id}/random"]
    assert "SSD, PSR: cannot be trained" in why_no_control(recipe, name)


BASE, BETTER = [1, 0, 0, 0, 0] * 12, [1, 1, 1, 0, 0] * 12


def states(recipe: EvaluationRecipe, folder: Path, subject: str) -> dict[str, str]:
    return {one.name: one.state for one in read_table(recipe, folder).claims[subject, "arithmetic"].controls}


@pytest.mark.parametrize(
    ("changes", "state"), [({}, "passed"), ({"train": {"epochs": 9}}, "not run"), ({"seed": 1}, "not run")]
)
def test_adapters_of_two_runs_are_controls_where_both_were_made_alike(
    changes: dict[str, Any], state: str, sums: Path, tmp_path: Path
) -> None:
    first, second = distilled(sums, "spd"), distilled(sums, "random", **changes)
    recipe = recipe_of(f"{first.id}/spd", f"{second.id}/random", "psr", capability=str(sums))
    spd, random = recipe.subjects[1], recipe.subjects[2]
    for name, right in ((recipe.subjects[0].name, BASE), (spd.name, BETTER), (random.name, BASE)):
        put(tmp_path, name, records(right))
    name = random.title if state == "passed" else "Random subspace"
    assert states(recipe, tmp_path, spd.name)[name] == state
    second.set_rejected({"random": [0]})
    assert states(recipe, tmp_path, spd.name)["Random subspace"] == "not run"


def test_an_arm_of_the_evaluation_is_a_control_of_an_adapter_where_its_run_was_made_alike(
    sums: Path, tmp_path: Path
) -> None:
    first, other = distilled(sums, "spd"), distilled(sums, "psr", train={"epochs": 9})
    alike = distilled(sums, "psr")
    recipe = recipe_of(f"{first.id}/spd", "psr", capability=str(sums))
    spd = recipe.subjects[1].name
    put(tmp_path, "base", records(BASE))
    put(tmp_path, spd, records(BETTER), adapter=f"{first.id}/spd")
    for run, state in ((other, "not run"), (alike, "passed")):
        put(tmp_path, "psr", records(BASE), adapter=f"{run.id}/psr")
        assert states(recipe, tmp_path, spd)["PSR"] == state


# --- items ---------------------------------------------------------------------------------------------------


def test_more_items_are_bounded_by_the_set(sums: Path) -> None:
    recipe = evaluation_from({"sets": [{"capability": str(sums), "limit": 12}, "multiple-choice"]})
    whole = sum('"split": "heldout"' in line for line in sums.read_text().splitlines())
    assert items_of(recipe.sets[0]) == whole > 100
    for n, limit in ((40, 40), (whole, None), (1000, None)):
        more = with_items(recipe, "sums", n)
        assert [one.limit for one in more.sets] == [limit, None]
        assert more.model_copy(update={"sets": recipe.sets}) == recipe
    assert items_of(EvalSet(capability="gsm8k")) is None, "the hub is not asked"
    assert with_items(recipe_of(sets=["gsm8k"]), "gsm8k", 400).sets[0].limit == 400
    with pytest.raises(InputError, match="no set 'x'; there are sums, multiple-choice"):
        with_items(recipe, "x", 5)
    with pytest.raises(InputError, match="0 items are none"):
        with_items(recipe, "sums", 0)


def test_what_more_items_would_show() -> None:
    found = paired([0] * 18 + [1] * 6, [1] * 6 + [0] * 18, binary=True)  # 12 of 24 discordant
    assert (found.gained, found.lost) == (6, 6)
    assert detectable_with(found, 24) == found.minimum_detectable
    assert detectable_with(found, 96) == minimum_detectable(96, 0.5)
    assert math.isinf(detectable_with(found, 5))
    nats = Difference(-0.1, 20, found.interval, 0.4, 9, 11, "BCa", "sign flips", 0.28)
    assert detectable_with(nats, 80) == pytest.approx(0.14)  # half the standard error


# --- from a run to a claim with all its controls -------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, family_folder: Callable[[str], Path]) -> Recipe:
    """A distillation of a second or two."""
    rows = [{"capability": "sums", "template": "Q: {prompt}", "spans": "number", "scorer": "number"}]
    for split in ("calibration", "train", "heldout"):
        rows += [
            {"id": f"{split}{i}", "split": split, "prompt": f"{split} {i}", "answer": f"it is {i}"} for i in range(6)
        ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return recipe_from({
        "capability": str(path), "model": str(family_folder("llama")), "dtype": "float32", "arms": ["ssd", "spd"],
        "corpus": {"max_new_tokens": 5, "drop": []}, "train": {"epochs": 1, "batch_size": 3, "learning_rate": 1e-2},
        "drift": False,
    })  # fmt: skip


def cells(recipe: EvaluationRecipe, folder: Path) -> dict[str, tuple[int, int, int]]:
    """Items, those read again and new tokens of each cell that is answered."""
    heard: dict[str, tuple[int, int, int]] = {}

    def tell(event: Any) -> None:
        if isinstance(event, CellDone):
            heard[event.arm] = (event.n, event.reused, event.tokens)

    assert carry_out_table(recipe, folder, tell=tell) == "done"
    return heard


def test_from_a_finished_run_to_a_claim_with_all_its_controls(small: Recipe, tmp_path: Path) -> None:
    run = queue.create_here(small)
    assert run_job(run, carry_out) == "done"
    proposed = evaluation_of(run)
    short = with_items(
        proposed.model_copy(update={"sets": (proposed.sets[0].model_copy(update={"max_new_tokens": 5}),)}), "sums", 3
    )
    few = short.model_copy(update={"subjects": (NAMED["base"], NAMED["spd"], NAMED["ssd"])})
    first = cells(few, tmp_path / "few")
    assert {name: (n, reused) for name, (n, reused, _) in first.items()} == dict.fromkeys(
        ["base", "spd", "ssd"], (3, 0)
    )
    assert len(all_runs()) == 1, "the arms were found where they were trained"
    more = with_controls(few, ["spd"])
    assert set(names(more.subjects)) == set(names(proposed.subjects))
    second = cells(more, tmp_path / "more")
    assert {name: second[name] for name in first} == dict.fromkeys(first, (3, 3, 0)), "what is known is only read"
    (new,) = (one for one in all_runs() if isinstance(one, Run) and one.id != run.id)
    assert sorted(new.record.distillation.arms) == ["full", "psr", "random", "shuffled"], (
        "only missing ones are trained"
    )
    claim = read_table(more, tmp_path / "more").claims["spd", "sums"]
    assert len(claim.controls) == len(CONTROLS_OF_SPD)
    assert {control.state for control in claim.controls} <= {"passed", "not shown", "failed"}
    longer = cells(with_items(more, "sums", 100), tmp_path / "longer")
    assert {(n, reused) for n, reused, _ in longer.values()} == {(6, 3)}, "old items are only read"
    assert len(all_runs()) == 2


def test_every_proposal_can_be_asked(sums: Path) -> None:
    run = distilled(sums, "spd")
    for recipe in (evaluation_of(run), with_controls(recipe_of("spd"), ["spd"])):
        assert evaluation_from(json.loads(recipe.model_dump_json())) == recipe
    assert Subject(kind="distilled", arm="random") in evaluation_of(run).subjects
