"""Whole evaluations on a tiny model: cells, arms that are trained for it, seeds, stops, and all that can be wrong."""

import hashlib
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.data.catalog import find_capability
from spd_core.errors import InputError, ModelError
from spd_core.evaluation import answers as evaluation
from spd_core.evaluation import fill, preflight
from spd_core.evaluation.cells import Cell, cell_path, read_cell
from spd_core.evaluation.contamination import seen_items
from spd_core.evaluation.fill import carry_out_table
from spd_core.evaluation.store import ItemRecord
from spd_core.evaluation.subjects import adapter_that_answered, fingerprint
from spd_core.evaluation.table import read_table
from spd_core.intervention.adapters import save_adapter, saved_adapter
from spd_core.intervention.export import export_folded, export_merged
from spd_core.intervention.projection import Lane
from spd_core.models.identity import content_of
from spd_core.recipes.distill import Recipe
from spd_core.recipes.evaluation import EvaluationRecipe, evaluation_from
from spd_core.recipes.gains import parse_gains
from spd_core.runs import queue, states
from spd_core.runs.events import AnyEvent, CellDone, StageBegun, StageProgress
from spd_core.runs.folder import Run, all_runs
from spd_core.runs.record import anchored
from spd_core.subspace.store import captures_folder, load_capture, open_capture, reference_of, save_capture
from spd_core.subspace.subspace import random_subspace, subspace_of
from tests.lora import adapter_of, peft_model

Make = Callable[..., EvaluationRecipe]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SPD_HOME without runs or records, where no code is allowed."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SPD_ALLOW_CODE", raising=False)
    return tmp_path / "home"


def write_set(path: Path, scorer: str = "number", **fields: Any) -> Path:
    rows: list[dict[str, Any]] = [
        {"capability": path.stem, "template": "Q: {prompt}", "spans": "number", "scorer": scorer}
    ]
    for split, n in (("calibration", 6), ("train", 6), ("heldout", 5)):
        for i in range(n):
            rows.append({"id": f"{split}{i}", "split": split, "prompt": f"{split} {i} of {path.stem}",
                         "answer": f"it is {i}", **fields})  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def make(tmp_path: Path, family_folder: Callable[[str], Path]) -> Make:
    """An evaluation of a second or two."""
    inside, outside = write_set(tmp_path / "inside.jsonl"), write_set(tmp_path / "outside.jsonl")

    def made(**changes: Any) -> EvaluationRecipe:
        settings: dict[str, Any] = {
            "capability": str(inside), "model": str(family_folder("llama")), "dtype": "float32",
            "subjects": ["base", "projected", "projected-random"], "sets": [
                {"capability": str(inside), "max_new_tokens": 5}, {"capability": str(outside), "max_new_tokens": 5}],
            "corpus": {"max_new_tokens": 5, "drop": []},
            "train": {"epochs": 1, "batch_size": 3, "learning_rate": 1e-2}, "batch_size": 3,
        }  # fmt: skip
        return evaluation_from({**settings, **changes})

    return made


def filled(folder: Path, subject: str, set_name: str = "inside", seed: int = 42) -> list[ItemRecord]:
    found = read_cell(folder, subject, seed, set_name)
    assert found is not None, f"{subject} on {set_name} was not filled"
    return found[1]


# --- cells ---------------------------------------------------------------------------------------------------


def test_every_subject_answers_every_set(make: Make, tmp_path: Path) -> None:
    heard: list[AnyEvent] = []
    names = ["base", "projected", "projected-random", "projected-full", "projected-shuffled", "complement"]
    recipe = make(subjects=names)
    assert carry_out_table(recipe, tmp_path / "run", run="r", tell=heard.append) == "done"
    answers = {}
    for name in names:
        for set_name in ("inside", "outside"):
            records = filled(tmp_path / "run", name, set_name)
            assert [record.id for record in records] == [f"heldout{i}" for i in range(5)]
            answers[name, set_name] = [record.completion for record in records]
    assert len({tuple(texts) for (_, name), texts in answers.items() if name == "inside"}) == len(names), "all differ"
    cells = [event for event in heard if isinstance(event, CellDone)]
    assert [(cell.arm, cell.set) for cell in cells] == [(name, s) for name in names for s in ("inside", "outside")]
    assert {cell.n for cell in cells} == {5}
    captures = [event.arm for event in heard if isinstance(event, StageBegun) and event.stage == "capture"]
    assert captures == ["capability", "full loss", "shuffled answers"], "one for all subjects that use it"
    told = [event.arm for event in heard if isinstance(event, StageProgress) and event.stage == "capture"]
    assert list(dict.fromkeys(told)) == captures, "how far each is, under its name"
    table = read_table(recipe, tmp_path / "run")
    assert (table.done, table.planned) == (12, 12)
    assert [column.in_domain for column in table.columns] == [True, False]
    assert (tmp_path / "run" / "table.md").read_text().startswith("| Arm | ")
    assert (tmp_path / "run" / "table.csv").read_text().count("\n") == 13


def test_a_contrast_is_captured_with_what_it_leaves_out_and_has_seen_both(make: Make, tmp_path: Path) -> None:
    other = write_set(tmp_path / "other.jsonl")
    recipe = make(subjects=["base", "projected", "projected-contrast"], capture={"rank": "4", "without": [str(other)]})
    heard: list[AnyEvent] = []
    assert carry_out_table(recipe, tmp_path / "run", tell=heard.append) == "done"
    captures = [event.arm for event in heard if isinstance(event, StageBegun) and event.stage == "capture"]
    assert captures == ["capability", "contrast"]
    answers = [
        [one.completion for one in filled(tmp_path / "run", name)] for name in ("projected", "projected-contrast")
    ]
    assert answers[0] != answers[1]
    (place,) = (tmp_path / "run" / "captures").glob("contrast-*")
    made = load_capture(place)
    assert made.provenance.capability == "inside without other"
    assert made.seen is not None
    assert all(made.seen.marks([one.prompt for one in find_capability(str(other)).examples]))


def test_two_ranks_are_cut_from_one_capture(make: Make, tmp_path: Path) -> None:
    ranks = [{"kind": "projected", "rank": rank, "label": f"rank {rank}"} for rank in ("2", "5")]
    recipe = make(subjects=["base", *ranks], sets=[make().sets[0].model_dump()])
    heard: list[AnyEvent] = []
    carry_out_table(recipe, tmp_path / "run", tell=heard.append)
    assert [event.arm for event in heard if isinstance(event, StageBegun) and event.stage == "capture"] == [
        "capability"
    ]
    (place,) = (tmp_path / "run" / "captures").iterdir()
    for rank in (2, 5):
        found = read_cell(tmp_path / "run", f"rank-{rank}", 42, "inside")
        assert found is not None
        alone = make(subjects=["base", {"kind": "projected", "capture": str(place), "rank": str(rank), "label": "it"}],
                     sets=[make().sets[0].model_dump()])  # fmt: skip
        carry_out_table(alone, tmp_path / f"alone-{rank}")
        assert filled(tmp_path / f"alone-{rank}", "it") == found[1]


def test_what_is_there_is_only_read(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out_table(make(), tmp_path / "first")
    monkeypatch.setattr(fill, "load", lambda *_, **__: pytest.fail("nothing is missing"))
    assert carry_out_table(make(), tmp_path / "first") == "done"
    monkeypatch.undo()
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(evaluation, "write_batch", lambda *_, **__: pytest.fail("it was asked before"))
    heard: list[AnyEvent] = []
    assert carry_out_table(make(), tmp_path / "second", tell=heard.append) == "done"
    cells = [event for event in heard if isinstance(event, CellDone)]
    assert {(cell.reused, cell.tokens) for cell in cells} == {(5, 0)}
    for name in ("base", "projected", "projected-random"):
        assert filled(tmp_path / "second", name) == filled(tmp_path / "first", name)


def test_a_capture_with_other_last_bits_is_the_same_and_nothing_is_asked_again(make: Make, tmp_path: Path) -> None:
    """Threads and rows at once decide the last bits: what the shell had asked was asked again by the page."""
    names = ["base", "projected", "projected-random", "projected-shuffled"]
    before = torch.get_num_threads()
    try:
        for threads, folder in ((1, "first"), (2, "second")):
            torch.set_num_threads(threads)
            heard: list[AnyEvent] = []
            recipe = make(subjects=names, capture={"batch_size": 1 if threads == 1 else 6})
            carry_out_table(recipe, tmp_path / folder, tell=heard.append)
    finally:
        torch.set_num_threads(before)
    places = [next((tmp_path / folder / "captures").glob("capability-*")) for folder in ("first", "second")]
    first, second = (load_capture(place) for place in places)
    assert any((first.sites[site].vectors != second.sites[site].vectors).any() for site in first.sites)
    cells = [event for event in heard if isinstance(event, CellDone)]
    assert {(cell.reused, cell.tokens) for cell in cells} == {(5, 0)}


def test_a_cell_says_which_capture_and_which_adapter_answered(make: Make, tmp_path: Path, home: Path) -> None:
    recipe = make(subjects=["base", "projected", "projected-random", "psr"], sets=[make().sets[0].model_dump()])
    folder = home / "runs" / "20261201-table"
    carry_out_table(recipe, folder)
    cells = {name: read_cell(folder, name, 42, "inside") for name in (s.name for s in recipe.subjects)}
    base, projected, drawn, tuned = (found[0] for found in cells.values() if found is not None)
    assert (base.capture, base.subspace, base.adapter) == ("", "", "")
    assert projected.capture.startswith("20261201-table/capability-")
    assert drawn.capture == projected.capture, "the random one has its ranks"
    assert open_capture(projected.capture).identity == projected.subspace == drawn.subspace
    (trained,) = [run for run in all_runs() if isinstance(run, Run)]
    assert (tuned.adapter, tuned.capture) == (f"{trained.id}/psr", "")
    named = make(subjects=["base", {"kind": "projected", "capture": projected.capture}])
    save_capture(open_capture(projected.capture), captures_folder() / "mine")
    shelf = make(subjects=["base", {"kind": "projected", "capture": "mine"}])
    path = make(subjects=["base", {"kind": "projected", "capture": str(captures_folder() / "mine")}])
    for another, reference in ((named, projected.capture), (shelf, "mine"), (path, "mine")):
        heard: list[AnyEvent] = []
        place = tmp_path / another.subjects[1].name
        carry_out_table(another, place, tell=heard.append)
        found = read_cell(place, another.subjects[1].name, 42, "inside")
        assert found is not None
        assert (found[0].capture, found[0].subspace) == (reference, projected.subspace)
        assert all(event.tokens == 0 for event in heard if isinstance(event, CellDone) and event.set == "inside")


def test_the_very_adapter_that_answered_is_found_by_its_weights(make: Make, tmp_path: Path, home: Path) -> None:
    """An item of an old table, which named no adapter, was opened with that of a newer run."""
    carry_out_table(make(subjects=["base", "psr", "spd"]), tmp_path / "run")
    (first,) = [run.id for run in all_runs() if isinstance(run, Run)]
    carry_out_table(make(subjects=["base", "psr"], train={"epochs": 2, "learning_rate": 1e-2}), tmp_path / "later")
    assert len(all_runs()) == 2
    cells = {name: read_cell(tmp_path / "run", name, 42, "inside") for name in ("base", "psr", "spd")}
    asked = {name: found[0].model_copy(update={"adapter": ""}) for name, found in cells.items() if found is not None}
    answered = {name: adapter_that_answered(cell) for name, cell in asked.items()}
    assert answered == {"base": "", "psr": f"{first}/psr", "spd": f"{first}/spd"}
    shutil.rmtree(home / "runs" / first / "adapters" / "psr")
    shutil.copytree(home / "runs" / first / "adapters" / "spd", home / "runs" / first / "adapters" / "psr")
    assert adapter_that_answered(asked["psr"].model_copy(update={"adapter": f"{first}/psr"})) == "", "another by now"


def test_cells_of_before_still_open(make: Make, tmp_path: Path) -> None:
    carry_out_table(make(), tmp_path / "run")
    path = cell_path(tmp_path / "run", "projected", 42, "inside")
    record = json.loads(path.read_text())
    for name in ("capture", "subspace", "seen"):
        del record[name]
    path.write_text(json.dumps({**record, "format": 2}))
    found = read_cell(tmp_path / "run", "projected", 42, "inside")
    assert found is not None
    assert (found[0].capture, found[0].subspace, found[0].seen) == ("", "", None)


def test_a_stop_again_and_again_gives_the_same_table(make: Make, tmp_path: Path, home: Path) -> None:
    whole = make()
    carry_out_table(whole, tmp_path / "once")
    (home / "evaluations").rename(tmp_path / "aside")
    outcomes = []
    for _ in range(40):
        left = iter(range(9))
        outcomes.append(carry_out_table(whole, tmp_path / "often", stop=lambda left=left: next(left, None) is None))
        if outcomes[-1] == "done":
            break
    assert outcomes.count("stopped") >= 3
    assert outcomes[-1] == "done"
    for name in ("base", "projected", "projected-random"):
        for set_name in ("inside", "outside"):
            assert filled(tmp_path / "often", name, set_name) == filled(tmp_path / "once", name, set_name)


def test_a_folded_checkpoint_answers_like_the_projected_model(make: Make, tmp_path: Path, tiny_lm: Any) -> None:
    carry_out_table(make(), tmp_path / "run")
    (place,) = (path for path in (tmp_path / "run" / "captures").iterdir())
    export_folded(tiny_lm("llama"), Lane(subspace_of(load_capture(place))), tmp_path / "folded")
    recipe = make(subjects=["base", "projected", {"kind": "checkpoint", "model": str(tmp_path / "folded")}])
    carry_out_table(recipe, tmp_path / "other")
    checkpoint, projected = filled(tmp_path / "other", "checkpoint-folded"), filled(tmp_path / "other", "projected")
    assert [record.completion for record in checkpoint] == [record.completion for record in projected]
    assert [record.completion for record in checkpoint] != [r.completion for r in filled(tmp_path / "other", "base")]


def test_a_mixed_subject_answers_and_is_another_one(make: Make, tmp_path: Path, tiny_lm: Any) -> None:
    mix = {"kind": "projected", "strength": 0, "gains": [{"layer": 2, "kind": "value", "directions": [[1, -8]]}]}
    more = {**mix, "label": "more", "gains": [{"layer": 2, "kind": "value", "directions": [[1, -9]]}]}
    recipe = make(subjects=["base", mix, more], capture={"layers": "1,2"})
    assert carry_out_table(recipe, tmp_path / "run") == "done"
    assert filled(tmp_path / "run", "mixed-capability") != filled(tmp_path / "run", "base")
    subjects = [read_cell(tmp_path / "run", name, 42, "inside") for name in ("base", "mixed-capability", "more")]
    assert len({found[0].about.subject for found in subjects if found is not None}) == 3
    (place,) = (path for path in (tmp_path / "run" / "captures").iterdir())
    lane = Lane(subspace_of(load_capture(place)), strength=0, gains=recipe.subjects[1].gains)
    export_folded(tiny_lm("llama"), lane, tmp_path / "folded")
    checkpoint = make(subjects=["base", {"kind": "checkpoint", "model": str(tmp_path / "folded")}])
    carry_out_table(checkpoint, tmp_path / "other")
    texts = [
        [record.completion for record in filled(tmp_path / folder, name)]
        for folder, name in (("run", "mixed-capability"), ("other", "checkpoint-folded"))
    ]
    assert texts[0] == texts[1]


def test_fingerprints_of_lanes_without_gains_are_those_of_before(tiny_lm: Any, make: Make, tmp_path: Path) -> None:
    """The facts that earlier versions hashed, by hand."""
    lm = tiny_lm("llama")
    carry_out_table(make(subjects=["base", "projected"]), tmp_path / "run")
    (place,) = (path for path in (tmp_path / "run" / "captures").iterdir())
    subspace = subspace_of(load_capture(place))
    facts = {
        "model": content_of(lm.name) or lm.revision, "dtype": "torch.float32", "subspace": subspace.fingerprint,
        "how": [0.5, ["key"], [1], False], "adapter": "",
    }  # fmt: skip
    of_before = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    lane = Lane(subspace, 0.5, ("key",), (1,))
    assert fingerprint(lm, lane) == of_before
    assert fingerprint(lm, replace(lane, gains=parse_gains("1k_1x0"))) != of_before


# --- what a subject has seen --------------------------------------------------------------------------------------


def seen_in(folder: Path, subject: str, set_name: str) -> int | None:
    found = read_cell(folder, subject, 42, set_name)
    assert found is not None, f"{subject} on {set_name} was not filled"
    return found[0].seen


def splits(make: Make) -> list[dict[str, Any]]:
    """All three splits of the in-domain set; 6, 6 and 5 items."""
    path = make().capability
    return [{"capability": path, "split": split, "label": split, "max_new_tokens": 5}
            for split in ("calibration", "train", "heldout")]  # fmt: skip


def test_what_each_subject_was_captured_from_or_trained_on_is_counted_for_it(make: Make, tmp_path: Path) -> None:
    names = ["base", "projected", "projected-random", "projected-full", "projected-shuffled", "psr", "spd", "random"]
    corpus = {"max_new_tokens": 5, "drop": [], "prompts": 4}
    recipe = make(subjects=names, sets=splits(make), capture={"examples": 5}, corpus=corpus)
    carry_out_table(recipe, tmp_path / "run")
    found = {
        name: tuple(seen_in(tmp_path / "run", name, split) for split in ("calibration", "train", "heldout"))
        for name in names
    }
    captured, trained, nothing = (5, 0, 0), (0, 4, 0), (0, 0, 0)
    assert found == {
        "base": nothing, "projected": captured, "projected-random": nothing, "projected-full": captured,
        "projected-shuffled": captured, "psr": trained, "spd": (5, 4, 0), "random": trained,
    }  # fmt: skip
    said = (tmp_path / "run" / "table.md").read_text()
    assert "SPD was calibrated or trained on 4 of these 6 items" in said
    table = read_table(recipe, tmp_path / "run")
    assert "contaminated: SPD was calibrated or trained on 4 of these 6 items" in table.claims["spd", "train"].flags
    assert any(flag.endswith("on the 2 others, p = 1") for flag in table.claims["spd", "train"].flags)
    assert not any(flag.startswith(("contaminated", "unseen")) for flag in table.claims["spd", "heldout"].flags)


def test_adapters_captures_and_checkpoints_that_are_there_bring_what_they_know(
    make: Make, tmp_path: Path, tiny_lm: Any, home: Path
) -> None:
    """An adapter of a run was tested on 8 of its own training prompts, and nothing was said."""
    made = make(subjects=["base", "projected", "spd"])
    carry_out_table(made, home / "runs" / "20261201-table")
    (run,) = [one for one in all_runs() if isinstance(one, Run)]
    capture = reference_of(next((home / "runs" / "20261201-table" / "captures").iterdir()))
    lm, adapter = tiny_lm("llama"), saved_adapter(f"{run.id}/spd")
    export_merged(lm, adapter, tmp_path / "merged")
    export_folded(lm, Lane(subspace_of(open_capture(capture))), tmp_path / "folded")
    export_folded(lm, Lane(random_subspace(subspace_of(open_capture(capture)), 1)), tmp_path / "drawn")
    shutil.copytree(tmp_path / "merged", tmp_path / "foreign")
    for name in ("seen.json", "spd_export.json"):
        (tmp_path / "foreign" / name).unlink()
    given = [
        {"kind": "distilled", "adapter": f"{run.id}/spd", "label": "adapter"},
        {"kind": "projected", "capture": capture, "label": "capture"},
        *({"kind": "checkpoint", "model": str(tmp_path / name), "label": name}
          for name in ("merged", "folded", "drawn", "foreign")),
    ]  # fmt: skip
    recipe = make(subjects=["base", *given], sets=splits(make)[:2])
    carry_out_table(recipe, tmp_path / "other")
    found = {
        one["label"]: tuple(seen_in(tmp_path / "other", str(one["label"]), split) for split in ("calibration", "train"))
        for one in given
    }
    assert found == {
        "adapter": (6, 6), "capture": (6, 0), "merged": (6, 6), "folded": (6, 0), "drawn": (0, 0),
        "foreign": (None, None),
    }  # fmt: skip
    flags = read_table(recipe, tmp_path / "other").claims["foreign", "train"].flags
    assert any("what foreign was trained on is not known" in flag for flag in flags)


def test_an_adapter_of_before_is_known_by_its_run(make: Make, tmp_path: Path, tiny_lm: Any, home: Path) -> None:
    made = make(subjects=["base", "spd"])
    carry_out_table(made, tmp_path / "run")
    (run,) = [one for one in all_runs() if isinstance(one, Run)]
    export_merged(tiny_lm("llama"), saved_adapter(f"{run.id}/spd"), tmp_path / "merged")
    for place in (run.folder / "adapters" / "spd", tmp_path / "merged"):  # as versions before left them
        (place / "seen.json").unlink()
    subjects = ["base", f"{run.id}/spd", {"kind": "checkpoint", "model": str(tmp_path / "merged"), "label": "merged"}]
    recipe = make(subjects=subjects, sets=splits(make)[:2])
    carry_out_table(recipe, tmp_path / "other")
    names = [subject.name for subject in recipe.subjects[1:]]
    assert [seen_in(tmp_path / "other", name, split) for name in names for split in ("calibration", "train")] == [6] * 4
    path = Path(made.capability)
    path.write_text(path.read_text().replace("train 3 of inside", "edited since"))
    carry_out_table(recipe, tmp_path / "later")
    assert [seen_in(tmp_path / "later", name, "train") for name in names] == [None, None], "nobody can know any more"


def test_earlier_cells_say_what_they_looked_for(make: Make, tmp_path: Path) -> None:
    cells = [Cell.model_validate({**old, "format": 2}) for old in (
        {"subject": "x", "seed": 42, "set": "s", "title": "S", "model": "m", "revision": "r", "dtype": "float32",
         "fingerprint": "f", "created": "c", "seen": 3,
         "about": {"subject": "", "set": "s", "template": "t", "scorer": "number", "style": "raw",
                   "max_new_tokens": 4}},
    )]  # fmt: skip
    recipe = make(subjects=["base", "projected", "spd", "r/spd", {"kind": "projected", "capture": "c"},
                            {"kind": "checkpoint", "model": "m"}])  # fmt: skip
    assert [seen_items(subject, cells) for subject in recipe.subjects] == [0, 3, 3, None, None, None]
    assert seen_items(recipe.subjects[2], [*cells, cells[0].model_copy(update={"seen": 5})]) == 5, "of all its seeds"


def test_a_set_that_is_edited_between_a_stop_and_going_on_is_asked_anew(make: Make, tmp_path: Path) -> None:
    recipe = make(subjects=["base", "projected"])
    there = cell_path(tmp_path / "run", "base", 42, "inside")
    assert carry_out_table(recipe, tmp_path / "run", stop=there.exists) == "stopped"
    before = [record.prompt for record in filled(tmp_path / "run", "base")]
    path = Path(recipe.sets[0].capability)
    path.write_text(path.read_text().replace("heldout 2 of inside", "an edited one"))
    assert carry_out_table(recipe, tmp_path / "run") == "done"
    asked = {name: [r.prompt for r in filled(tmp_path / "run", name)] for name in ("base", "projected")}
    assert asked["base"] == asked["projected"] != before
    assert "Q: an edited one" in asked["base"]


def test_a_calibration_example_without_a_number_is_left_out_and_stops_nothing(make: Make, tmp_path: Path) -> None:
    path = Path(make().capability)
    path.write_text(path.read_text().replace("it is 3", "none", 1))
    recipe = make(subjects=["base", "projected", "spd"], sets=[{"capability": str(path), "max_new_tokens": 5}])
    assert carry_out_table(recipe, tmp_path / "run") == "done"


# --- arms ----------------------------------------------------------------------------------------------------


def test_arms_are_trained_in_runs_of_their_own_once_for_each_seed(make: Make, tmp_path: Path) -> None:
    recipe = make(subjects=["base", "psr", "spd"], seeds=[1, 2])
    assert carry_out_table(recipe, tmp_path / "run") == "done"
    trained = [run for run in all_runs() if isinstance(run, Run)]
    assert sorted(run.record.distillation.seed for run in trained) == [1, 2]
    assert {states.state_of(run) for run in trained} == {"done"}
    assert all(run.record.distillation == anchored(_of(recipe, run)) for run in trained)
    assert not cell_path(tmp_path / "run", "base", 2, "inside").exists(), "the base does not depend on the seed"
    for arm in ("psr", "spd"):
        first, second = (filled(tmp_path / "run", arm, seed=seed) for seed in (1, 2))
        assert [r.completion for r in first] != [r.completion for r in second]
    table = read_table(recipe, tmp_path / "run")
    assert table.answered["spd", "inside"].estimate.seeds == 2
    assert carry_out_table(make(subjects=["base", "psr", "spd"], seeds=[2]), tmp_path / "more") == "done"
    assert len(all_runs()) == 2, "finished ones are used again"


def _of(recipe: EvaluationRecipe, run: Run) -> Recipe:
    found = recipe.distillation(run.record.distillation.seed)
    assert found is not None
    return found


def test_arms_are_trained_again_when_their_capability_was_edited(make: Make, tmp_path: Path) -> None:
    recipe = make(subjects=["base", "psr"])
    carry_out_table(recipe, tmp_path / "run")
    path = Path(recipe.capability)
    path.write_text(path.read_text().replace("train 1 of inside", "another prompt"))
    carry_out_table(recipe, tmp_path / "other")
    assert len(all_runs()) == 2
    first, second = (read_cell(tmp_path / name, "psr", 42, "outside") for name in ("run", "other"))
    assert first is not None
    assert second is not None
    assert first[0].about.subject != second[0].about.subject


def test_a_finished_table_trains_nothing_when_its_arms_were_deleted(make: Make, tmp_path: Path) -> None:
    recipe = make(subjects=["base", "psr"])
    carry_out_table(recipe, tmp_path / "run")
    (trained,) = all_runs()
    queue.delete(trained)
    assert carry_out_table(recipe, tmp_path / "run") == "done"
    assert all_runs() == []


def test_a_signal_during_a_training_stops_the_table_too(make: Make, tmp_path: Path) -> None:
    from spd_core.runs.job import _Stop

    run = queue.create_here(make(subjects=["base"]))
    inner, outer = _Stop(queue.create_here(make(subjects=["base"]))), _Stop(run)
    with outer.listening(), inner.listening():
        signal.raise_signal(signal.SIGTERM)
    assert (inner.reason, outer.reason) == ("stopped by SIGTERM", "stopped by SIGTERM")


def test_a_stopped_training_is_gone_on_with(make: Make, tmp_path: Path) -> None:
    recipe = make(subjects=["base", "psr"])
    left = iter(range(4))
    assert carry_out_table(recipe, tmp_path / "run", stop=lambda: next(left, None) is None) == "stopped"
    (half,) = all_runs()
    assert isinstance(half, Run)
    assert states.state_of(half) == "stopped"
    assert carry_out_table(recipe, tmp_path / "run") == "done"
    assert [run.id for run in all_runs()] == [half.id]
    assert states.state_of(half) == "done"


# --- what is wrong -------------------------------------------------------------------------------------------


def test_an_unknown_arm_is_named_with_those_there_are(make: Make) -> None:
    with pytest.raises(InputError, match=r"subjects: unknown arm 'sdp'; there are base, projected, .*spd"):
        make(subjects=["base", "sdp"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": ["projected"]}, "name the subject 'base' once"),
        ({"subjects": ["base", "spd", "spd"]}, "the subject 'spd' is named twice"),
        ({"sets": ["arithmetic", "arithmetic"]}, "the set 'arithmetic' is named twice"),
        ({"seeds": [42, 42]}, "the seed '42' is named twice; name it once; correct"),
        ({"seeds": []}, "seeds: name at least one, such as 42"),
        ({"subjects": ["base", {"kind": "checkpoint"}]}, "a checkpoint names its model"),
        ({"subjects": ["base", {"kind": "distilled"}]}, "names either an arm to train or an adapter"),
        ({"subjects": ["base", {"kind": "projected", "strength": 2}]}, "strength: Input should be less than or equal"),
        ({"subjects": ["base", "spd"], "train": {"patience": 2}}, "train.patience 2 needs corpus.held_out above 0"),
        ({"batch": 3}, "batch: Extra inputs are not permitted"),
    ],
)
def test_a_configuration_that_cannot_be(make: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_an_adapter_that_is_not_there_stops_before_anything_is_loaded(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(InputError, match="no adapter 'r1/spd' on this machine"):
        carry_out_table(make(subjects=["base", "r1/spd"]), tmp_path / "run")


def test_an_adapter_of_another_base_names_both(
    make: Make, tmp_path: Path, home: Path, tiny_lm: Callable[[str], Any]
) -> None:
    other = tiny_lm("llama_bias")
    adapter = adapter_of(other, peft_model(other), tmp_path / "adapter", run="r1")
    save_adapter(adapter, home / "runs" / "r1" / "adapters" / "spd", other.model.config)
    heard: list[AnyEvent] = []
    with pytest.raises(ModelError, match=r"this adapter was trained on .*llama_bias0.*and the model is .*llama0"):
        carry_out_table(make(subjects=["base", "r1/spd"]), tmp_path / "run", tell=heard.append)
    assert not any(isinstance(event, CellDone) for event in heard), "before anything is asked"


def test_an_adapter_of_this_base_is_evaluated(
    make: Make, tmp_path: Path, home: Path, tiny_lm: Callable[[str], Any]
) -> None:
    lm = tiny_lm("llama")
    save_adapter(adapter_of(lm, peft_model(lm), tmp_path / "adapter", run="r1"),
                 home / "runs" / "r1" / "adapters" / "spd", lm.model.config)  # fmt: skip
    carry_out_table(make(subjects=["base", "r1/spd"]), tmp_path / "run")
    tuned, base = filled(tmp_path / "run", "r1-spd"), filled(tmp_path / "run", "base")
    assert [record.completion for record in tuned] != [record.completion for record in base]


def test_a_capture_that_is_not_there(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        carry_out_table(make(subjects=["base", {"kind": "projected", "capture": "nowhere"}]), tmp_path / "run")


def test_a_folder_that_is_no_checkpoint(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="empty holds no config.json; name the folder of a model"):
        carry_out_table(make(subjects=["base", {"kind": "checkpoint", "model": str(tmp_path / "empty")}]),
                        tmp_path / "run")  # fmt: skip


def test_code_is_not_run_unless_somebody_allows_it(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_set(tmp_path / "code.jsonl", "python", tests=["assert f() == 1"])
    recipe = make(sets=[{"capability": str(path), "max_new_tokens": 4}], subjects=["base"])
    with pytest.raises(InputError, match="code is scored by running code that a model has written.*SPD_ALLOW_CODE=1"):
        carry_out_table(recipe, tmp_path / "run")
    assert carry_out_table(recipe.model_copy(update={"allow_code": True}), tmp_path / "switch") == "done"
    monkeypatch.setenv("SPD_ALLOW_CODE", "1")
    assert carry_out_table(recipe, tmp_path / "variable") == "done"
    assert {record.correct for record in filled(tmp_path / "switch", "base", "code")} == {False}
    monkeypatch.setattr(preflight, "_isolation", lambda _when: "this machine cannot isolate code: no Landlock")
    with pytest.raises(InputError, match="no Landlock"):
        carry_out_table(recipe, tmp_path / "elsewhere")


def test_a_public_set_that_cannot_be_reached_keeps_what_is_there(make: Make, tmp_path: Path) -> None:
    carry_out_table(make(), tmp_path / "run")
    before = filled(tmp_path / "run", "base")
    sets = [make().sets[0].model_dump(), {"capability": "gsm8k", "data": str(tmp_path / "absent.jsonl")}]
    with pytest.raises(InputError, match=r"cannot read .*absent.jsonl: No such file or directory; check the path"):
        carry_out_table(make(sets=sets), tmp_path / "run")
    assert filled(tmp_path / "run", "base") == before
