"""What is deleted comes back as it was, until the trash is emptied."""

from pathlib import Path

import pytest

from spd_core.errors import InputError
from spd_core.library.bundle import write_bundle
from spd_core.library.shelf import read_shelf
from spd_core.library.things import Ref
from spd_core.library.trash import (
    empty_trash,
    exports,
    exports_to_trash,
    move_to_trash,
    restore,
    trash_size,
    trashed_things,
)
from spd_core.runs.folder import open_run
from spd_core.runs.record import Status
from tests.library.test_bundle import tree
from tests.library.test_shelf import CAPTURE, RUN, TEXT, TUNED


def test_deleting_and_bringing_back_leaves_every_byte(home: Path) -> None:
    before, shelf = tree(home), read_shelf()
    chosen = [shelf.things[ref] for ref in (Ref("capture", CAPTURE), Ref("text", TEXT), Ref("run", RUN))]
    done = move_to_trash(chosen)
    now = read_shelf()
    assert not {Ref("capture", CAPTURE), Ref("text", TEXT), Ref("run", RUN), Ref("adapter", f"{RUN}/spd")} & set(
        now.things
    )
    assert trashed_things() == [done]
    assert trash_size() > sum(one.size for one in chosen)
    restore(done.name)
    assert tree(home) == before
    assert trashed_things() == []
    with pytest.raises(InputError, match="brought back already"):
        restore(done.name)


def test_one_adapter_goes_and_its_run_stays(home: Path) -> None:
    before = tree(home)
    done = move_to_trash([read_shelf().things[Ref("adapter", f"{RUN}/spd")]])
    assert (home / "runs" / RUN / "adapters" / "ssd").is_dir()
    assert not (home / "runs" / RUN / "adapters" / "spd").exists()
    restore(done.name)
    assert tree(home) == before


def test_what_lies_in_its_place_by_now_is_not_replaced(home: Path) -> None:
    path = home / "texts" / f"{TEXT}.json"
    done = move_to_trash([read_shelf().things[Ref("text", TEXT)]])
    path.write_text("another")
    with pytest.raises(InputError, match="is here by now"):
        restore(done.name)
    assert (path.read_text(), trashed_things()) == ("another", [done])


def test_emptying_is_for_good(home: Path) -> None:
    done = move_to_trash([read_shelf().things[Ref("text", TEXT)]])
    assert empty_trash() > 10_000
    assert not (home / "trash").exists()
    assert empty_trash() == 0
    with pytest.raises(InputError, match="was emptied"):
        restore(done.name)


def test_what_is_recorded_or_works_stays(home: Path) -> None:
    before, shelf = tree(home), read_shelf()
    with pytest.raises(InputError, match="comes with SPD Lab"):
        move_to_trash([shelf.things[Ref("capture", "arithmetic")]])
    with pytest.raises(InputError, match="nothing is chosen"):
        move_to_trash([])
    assert tree(home) == before
    open_run(RUN).write_status(Status(state="queued", since=1.0))
    for ref in (Ref("run", RUN), Ref("adapter", f"{RUN}/spd")):
        with pytest.raises(InputError, match="is queued; stop it first"):
            move_to_trash([shelf.things[ref]])
    assert not (home / "trash").exists()


def test_what_nothing_refers_to_are_answers_alone(home: Path) -> None:
    assert {one.ref.name for one in read_shelf().unused()} == {path.name for path in (home / "evaluations").iterdir()}


def test_what_nothing_stands_on_is_named_and_stays(home: Path) -> None:
    found = {str(one.ref) for one in read_shelf().unreferenced()}
    assert found == {f"text:{TEXT}", f"text:{TUNED}"}, "the capture is needed by both texts"
    assert not trashed_things()


def test_an_export_goes_and_comes_back(home: Path) -> None:
    made = write_bundle([Ref("capability", "doubles")])
    (home / "exports" / "folded").mkdir()
    (home / "exports" / "folded" / "model.safetensors").write_bytes(b"12345")
    assert exports() == {made.name: made.stat().st_size, "folded": 5}
    before = tree(home)
    done = exports_to_trash([made.name, "folded"])
    assert exports() == {}
    restore(done.name)
    assert tree(home) == before
    for name in ("gone", "../runs"):
        with pytest.raises(InputError):
            exports_to_trash([name])
