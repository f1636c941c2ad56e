"""Bundles go round: written here, brought in elsewhere, byte for byte; and what a bundle would clash with stays."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from spd_core.data.seen import Seen
from spd_core.distill.audits import AUDITS, Audit
from spd_core.distill.origin import files_of
from spd_core.errors import InputError, StorageError
from spd_core.evaluation.table import read_table
from spd_core.library import incoming
from spd_core.library.bundle import write_bundle
from spd_core.library.incoming import check_bundle, import_bundle
from spd_core.library.replay import replay
from spd_core.library.shelf import read_shelf
from spd_core.library.things import Ref
from spd_core.recipes.distill import recipe_from
from spd_core.records import to_lines
from spd_core.runs.folder import open_run
from spd_core.runs.record import Owner, Status
from tests.library.test_shelf import CAPTURE, RUN, TABLE, TEXT, TUNED

ALL = [Ref("capture", CAPTURE), Ref("text", TEXT), Ref("text", TUNED), Ref("run", RUN), Ref("evaluation", TABLE),
       Ref("capability", "doubles")]  # fmt: skip


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by name; locks and the like left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_everything_arrives_byte_for_byte_in_a_second_home(
    home: Path, second_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Ref("answers", path.name) for path in (home / "evaluations").iterdir()]
    before = tree(home)
    bundle = write_bundle([*ALL, *answers], tmp_path / "all.zip")
    manifest = json.loads(zipfile.ZipFile(bundle).read("manifest.json"))
    assert {"torch", "transformers", "numpy"} <= set(manifest["versions"])
    own = {str(ref): one for ref, one in read_shelf().things.items() if not one.recorded}
    assert set(own) == {one["thing"] for one in manifest["things"]}

    monkeypatch.setenv("SPD_HOME", str(second_home))
    found = import_bundle(bundle)
    assert (found.count("new"), found.refused) == (len(own), ())
    after = tree(second_home)
    listed = {name: file["sha256"] for one in manifest["things"] for name, file in one["files"].items()}
    assert after == listed
    of_this_machine = {f"runs/{run}/{name}" for run in (RUN, TABLE) for name in ("run.json", "status.json")}
    assert {name for name, digest in after.items() if before[name] != digest} == of_this_machine
    came = {str(ref): one for ref, one in read_shelf().things.items() if not one.recorded}
    assert {name: one.title for name, one in came.items()} == {name: one.title for name, one in own.items()}
    assert {name: one.stands_on for name, one in came.items()} == {name: one.stands_on for name, one in own.items()}
    assert not list(second_home.glob(".import-*"))

    again = import_bundle(bundle)
    assert again.count("here") == len(own), "brought in twice, it is here"
    assert tree(second_home) == after
    (second_home / "runs" / RUN / "tags.json").write_text('["mine"]')
    assert check_bundle(bundle).count("here") == len(own), "what people write on it does not make it another run"


def test_where_it_came_from_it_is_here_already(home: Path, tmp_path: Path) -> None:
    bundle = write_bundle([Ref("evaluation", TABLE), Ref("text", TUNED)], tmp_path / "a.zip")
    before = tree(home)
    found = import_bundle(bundle)
    assert {one.arrives for one in found.arrivals} == {"here"}
    assert tree(home) == before


def test_a_thing_brings_all_that_it_stands_on_and_nothing_else(home: Path, tmp_path: Path) -> None:
    manifest = check_bundle(write_bundle([Ref("text", TUNED)], tmp_path / "text.zip")).manifest
    assert manifest.chosen == (f"text:{TUNED}",)
    assert {one.thing for one in manifest.things} == {
        f"text:{TUNED}", f"capture:{CAPTURE}", f"adapter:{RUN}/spd", f"run:{RUN}"
    }  # fmt: skip


def test_nothing_of_this_machine_leaves_in_a_run(home: Path, tmp_path: Path) -> None:
    run = open_run(RUN)
    mine = Owner(pid=1, born=1.0, group=1, host="my-own-machine")
    run.write_status(Status(state="done", since=1.0, job=mine, launcher=mine))
    archive = zipfile.ZipFile(write_bundle([Ref("run", RUN)], tmp_path / "run.zip"))
    assert not [name for name in archive.namelist() if b"my-own-machine" in archive.read(name)]
    assert json.loads(archive.read(f"runs/{RUN}/run.json"))["command"] == "python -m spd_core distill recipe.json"


def test_a_run_takes_its_audits_along_and_damaged_ones_do_not_come_in(home: Path, tmp_path: Path) -> None:
    audits = home / "runs" / RUN / "arms" / "omniopd" / "round-1" / AUDITS
    audits.parent.mkdir(parents=True)
    audits.write_text(to_lines([Audit(step=1, number=0, prompt="1 + 1?", tokens=("2",), entropies=(0.5,))]))
    (audits.parent / "optimizer.pt").write_bytes(b"0")
    name = f"runs/{RUN}/arms/omniopd/round-1/{AUDITS}"
    bundle = write_bundle([Ref("run", RUN)], tmp_path / "run.zip")
    names = zipfile.ZipFile(bundle).namelist()
    assert [one for one in names if "/arms/" in one] == [name]
    audits.write_text('{"step": "first"}\n')
    with pytest.raises(InputError, match=AUDITS):
        check_bundle(write_bundle([Ref("run", RUN)], tmp_path / "damaged.zip"))


def test_an_adapter_takes_the_recipe_along_that_training_leaves_beside_it(home: Path, tmp_path: Path) -> None:
    recipe = recipe_from({"preset": "quick", "capability": "arithmetic", "arms": ["spd"], "train": {"epochs": 1}})
    beside = home / "runs" / RUN / "adapters" / "spd" / "recipe.json"
    beside.write_text(files_of(recipe, "spd", Seen())["recipe.json"])
    bundle = write_bundle([Ref("adapter", f"{RUN}/spd")], tmp_path / "a.zip")
    assert f"runs/{RUN}/adapters/spd/recipe.json" in zipfile.ZipFile(bundle).namelist()
    assert check_bundle(bundle).count("here") == len(check_bundle(bundle).arrivals)
    beside.write_text('{"preset": "quick", "capability": "arithmetic", "arms": ["best"]}')
    with pytest.raises(InputError, match=r"recipe\.json: .*best"):
        check_bundle(write_bundle([Ref("adapter", f"{RUN}/spd")], tmp_path / "b.zip"))


def arrived(bundle: Path) -> dict[str, str]:
    return {str(one.ref): one.arrives for one in import_bundle(bundle).arrivals}


def test_another_thing_of_the_same_name_stays_and_this_one_gets_a_number(home: Path, tmp_path: Path) -> None:
    bundle = write_bundle([Ref("capability", "doubles")], tmp_path / "a.zip")
    path = home / "capabilities" / "doubles.jsonl"
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    mine = path.read_text()
    (found,) = check_bundle(bundle).arrivals
    assert found.said.startswith("another capability doubles is here: this one comes in as doubles-2")
    assert arrived(bundle) == {"capability:doubles-2": "new"}
    assert path.read_text() == mine
    assert path.with_name("doubles-2.jsonl").read_text() == whole
    assert arrived(bundle) == {"capability:doubles-2": "here"}, "brought in again, it is known under its new name"


def test_what_refers_to_a_renamed_thing_follows(home: Path, tmp_path: Path) -> None:
    bundle = write_bundle([Ref("text", TUNED), Ref("evaluation", TABLE)], tmp_path / "a.zip")
    capture = home / "captures" / CAPTURE / "analysis.json"
    record = json.loads(capture.read_text())
    record["provenance"]["mean_loss"] += 1
    capture.write_text(json.dumps(record))
    corpus = next((home / "runs" / RUN / "corpora").iterdir())
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[:-1]))
    before = tree(home)

    again = {f"capture:{CAPTURE}-2", f"run:{RUN}-2", f"adapter:{RUN}-2/spd", f"text:{TUNED}-2", f"evaluation:{TABLE}-2"}
    assert arrived(bundle) == dict.fromkeys(again, "new")
    assert {name: tree(home)[name] for name in before} == before, "what was here is as it was"
    shelf = read_shelf()
    assert {str(ref): one.problem for ref, one in shelf.things.items() if str(ref) in again} == dict.fromkeys(again, "")
    text = shelf.things[Ref("text", f"{TUNED}-2")]
    assert text.stands_on == (Ref("capture", f"{CAPTURE}-2"), Ref("adapter", f"{RUN}-2/spd"))
    assert all(shelf.missing(shelf.things[Ref(*name.split(":"))]) == () for name in again)  # type: ignore[arg-type]
    run = open_run(f"{TABLE}-2")
    table = read_table(run.record.evaluation, run.folder)
    assert (table.done, table.planned, table.damaged) == (5, 5, ()), "its cells are called as their subjects"
    assert replay(Ref("evaluation", f"{TABLE}-2")).count("differs") == 0
    assert arrived(bundle) == dict.fromkeys(again, "here")


def test_answers_are_added_to_those_that_are_here(home: Path, tmp_path: Path) -> None:
    folder = next(path for path in sorted((home / "evaluations").iterdir()))
    bundle = write_bundle([Ref("answers", folder.name)], tmp_path / "a.zip")
    lines = (folder / "items.jsonl").read_text().splitlines(keepends=True)
    (folder / "items.jsonl").write_text("".join(lines[:-2]))
    found = import_bundle(bundle)
    assert [(one.arrives, one.said) for one in found.arrivals] == [("adds", "2 answers are new")]
    assert sorted((folder / "items.jsonl").read_text().splitlines(keepends=True)) == sorted(lines)


def test_a_move_that_fails_takes_back_what_was_moved(
    home: Path, second_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(ALL, tmp_path / "all.zip")
    monkeypatch.setenv("SPD_HOME", str(second_home))
    rename, moves = incoming._rename, []

    def full(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == 3:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(incoming, "_rename", full)
    with pytest.raises(StorageError, match="No space left"):
        import_bundle(bundle)
    assert len(moves) == 3
    assert tree(second_home) == {}


def test_what_cannot_be_handed_on_is_said(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is chosen"):
        write_bundle([], tmp_path / "a.zip")
    open_run(RUN).write_status(Status(state="queued", since=1.0))
    with pytest.raises(InputError, match="is queued; stop it"):
        write_bundle([Ref("text", TUNED)], tmp_path / "a.zip")
    (home / "texts" / f"{TEXT}.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be handed on"):
        write_bundle([Ref("text", TEXT)], tmp_path / "a.zip")
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".a*"))
    first = write_bundle([Ref("capability", "doubles")], tmp_path / "b.zip")
    with pytest.raises(StorageError, match="already exists"):
        write_bundle([Ref("capability", "doubles")], first)
