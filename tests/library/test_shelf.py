"""The shelf lists what lies in SPD_HOME: the expectations are read off the folder itself."""

from pathlib import Path

import pytest

from spd_core.errors import InputError
from spd_core.library.shelf import read_shelf
from spd_core.library.things import Ref, owner_of_file, ref_from, thing_files

CAPTURE, TEXT, TUNED = "20261125-005323-arithmetic-059ecce", "20261125-005330-0e9904f", "20261125-005358-1fea1a0"
RUN, TABLE = "20261125-005334-arithmetic-2ffa9f0", "20261125-005401-arithmetic-10d8e3b"


def test_everything_in_the_home_is_listed_with_its_size(home: Path) -> None:
    own = {ref: one for ref, one in read_shelf().things.items() if not one.recorded}
    assert {str(ref) for ref in own} == {
        f"capture:{CAPTURE}", f"text:{TEXT}", f"text:{TUNED}", f"run:{RUN}", f"adapter:{RUN}/spd", f"adapter:{RUN}/ssd",
        f"evaluation:{TABLE}", "capability:doubles",
        *(f"answers:{path.name}" for path in (home / "evaluations").iterdir()),
    }  # fmt: skip
    assert [one for one in own.values() if one.problem] == []
    lying = sum(path.stat().st_size for path in home.rglob("*") if path.is_file() and "by-shell" not in path.parts)
    elsewhere = sum((home / name).stat().st_size for name in ("snippet.py", "snippet-adapter.py", "runs/.lock"))
    assert sum(one.size for one in own.values()) == lying - elsewhere, "each byte once"


def test_what_stands_on_what(home: Path) -> None:
    shelf = read_shelf()
    capture, spd, table = Ref("capture", CAPTURE), Ref("adapter", f"{RUN}/spd"), Ref("evaluation", TABLE)
    assert shelf.things[Ref("text", TEXT)].stands_on == (capture,)
    assert shelf.things[Ref("text", TUNED)].stands_on == (capture, spd)
    assert shelf.things[table].stands_on == (capture, spd)
    assert shelf.things[spd].stands_on == (Ref("run", RUN),)
    assert {one.ref for one in shelf.standing_on(capture)} == {Ref("text", TEXT), Ref("text", TUNED), table}
    assert set(shelf.needed_by([table])) == {table, capture, spd, Ref("run", RUN)}
    assert set(shelf.needed_by([Ref("run", RUN)])) == {Ref("run", RUN), spd, Ref("adapter", f"{RUN}/ssd")}
    with pytest.raises(InputError, match="no text 'gone' is kept"):
        shelf.needed_by([Ref("text", "gone")])


def test_damaged_things_are_listed_with_the_reason(home: Path) -> None:
    (home / "texts" / f"{TEXT}.json").write_text('{"format": 4')
    (home / "captures" / CAPTURE / "analysis.safetensors").write_bytes(b"cut")
    (home / "runs" / RUN / "run.json").write_text("{}")
    (home / "runs" / RUN / "adapters" / "spd" / "card.json").write_text("[]")
    shelf = read_shelf()
    reasons = {one.ref.kind: one.problem for one in shelf.things.values() if one.problem}
    assert set(reasons) == {"text", "capture", "run"}
    assert "no valid result" in reasons["text"]
    assert "no valid capture" in reasons["capture"]
    assert shelf.missing(shelf.things[Ref("text", TUNED)]) == (Ref("adapter", f"{RUN}/spd"),)


def test_a_thing_that_changed_is_read_again(home: Path) -> None:
    before = read_shelf().things[Ref("capability", "doubles")].title
    path = home / "capabilities" / "doubles.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert (before, read_shelf().things[Ref("capability", "doubles")].title) == (
        "doubles: 12 examples",
        "doubles: 11 examples",
    )


def test_files_of_a_thing_are_its_own_and_nothing_that_only_this_machine_needs(home: Path) -> None:
    run = thing_files(Ref("run", RUN))
    assert {name.removeprefix(f"runs/{RUN}/") for name in run} == {
        "run.json", "status.json", "events.jsonl", "corpora/spd-round-1.jsonl", "corpora/ssd-round-1.jsonl",
        "captures/capability-round-1/subspace.json", "captures/capability-round-1/subspace.safetensors",
    }  # fmt: skip
    link = home / "captures" / CAPTURE / "notes.json"
    link.symlink_to("/etc/passwd")
    assert f"captures/{CAPTURE}/notes.json" not in thing_files(Ref("capture", CAPTURE))
    assert all(path.is_file() for path in thing_files(Ref("adapter", f"{RUN}/spd")).values())


@pytest.mark.parametrize(
    "name",
    ["../captures/a/analysis.json", "captures/a/../analysis.json", "captures/a..b/analysis.json", "captures/a/run.py",
     "/captures/a/analysis.json", "captures\\a\\analysis.json", "runs/a/arms/spd/optimizer.pt", "captures/.a/a.json",
     "runs/a/adapters/evil/card.json", "texts/a.json\n", "hashes.json", "captures/a/analysis.json/"],
)  # fmt: skip
def test_other_names_are_no_files_of_things(name: str) -> None:
    assert owner_of_file(name) is None


def test_what_a_ref_is_called() -> None:
    assert str(ref_from("adapter:a/spd")) == "adapter:a/spd"
    with pytest.raises(InputError, match="names nothing"):
        ref_from("model:a")
