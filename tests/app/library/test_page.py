"""The page Library, without a browser: empty, full and damaged homes, a bundle brought in, and the trash."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.ui import session
from spd_core.library.bundle import write_bundle
from spd_core.library.shelf import read_shelf
from spd_core.library.things import Ref
from spd_core.library.trash import move_to_trash
from tests import ROOT
from tests.app.test_pages import go_to, prepared, text_of, verdict_of
from tests.library.conftest import home, second_home  # noqa: F401 - fixtures
from tests.library.test_shelf import CAPTURE, TEXT
from tests.waiting import LONG

pytestmark = pytest.mark.builtin


def opened(place: Path, spd_home: Path, **link: str) -> AppTest:
    if not (place / "models").exists():
        (place / "models").symlink_to(spd_home / "models")
    at = AppTest.from_file(str(ROOT / "app" / "navigation.py"), default_timeout=LONG)
    at.query_params.update(link)
    at.run()
    return prepared(go_to(at, session.LIBRARY))


def titles(at: AppTest) -> list[str]:
    return list(at.dataframe[0].value["Title"])


def test_it_says_what_there_is(home: Path, spd_home: Path) -> None:  # noqa: F811
    at = opened(home, spd_home)
    assert verdict_of(at).startswith("You have 1 capture, 2 texts, 1 fine-tuning run, 2 adapters, 1 evaluation")
    assert "All can be read" in verdict_of(at)
    assert len(titles(at)) == 12
    at.text_input(key=session.LIBRARY_SEARCH).input("SPD adapter").run()
    assert titles(at) == ["SPD on arithmetic, 5 rows, 2 steps"]
    at.text_input(key=session.LIBRARY_SEARCH).input("no such").run()
    assert "Nothing matches" in text_of(at)


def test_an_empty_home_shows_what_comes_along_and_what_to_do(
    second_home: Path, spd_home: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setenv("SPD_HOME", str(second_home))
    at = opened(second_home, spd_home)
    assert "Nothing of your own yet" in text_of(at)
    assert "arithmetic, aligned loss, 2 layers" in titles(at)


def test_damaged_things_are_named_with_the_reason(home: Path, spd_home: Path) -> None:  # noqa: F811
    (home / "texts" / f"{TEXT}.json").write_text("{}")
    at = opened(home, spd_home)
    assert "1 thing cannot be read" in verdict_of(at)
    assert any("holds no valid result" in one.proto.body for one in at.get("html"))


def test_a_bundle_is_checked_and_brought_in(
    home: Path, second_home: Path, spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    bundle = write_bundle([Ref("text", TEXT)], tmp_path / "a.zip")
    monkeypatch.setenv("SPD_HOME", str(second_home))
    at = opened(second_home, spd_home, **{session.LIBRARY_VIEW: "Import a bundle"})
    at.text_input(key=session.BUNDLE_PATH).input(str(bundle)).run()
    assert verdict_of(at) == "The bundle is whole: 2 things, every sum is right and every file opens.\n2 are new."
    next(one for one in at.button if one.label == "Import 2 things").click().run()
    assert not at.exception
    assert [one.value for one in at.success] == ["2 things imported\\."]
    assert {str(ref) for ref, one in read_shelf().things.items() if not one.recorded} == {
        f"text:{TEXT}",
        f"capture:{CAPTURE}",
    }
    bundle.write_bytes(bundle.read_bytes()[:-100])
    at = opened(second_home, spd_home, **{session.LIBRARY_VIEW: "Import a bundle"})
    at.text_input(key=session.BUNDLE_PATH).input(str(bundle)).run()
    assert "no whole zip" in text_of(at)


def test_what_was_deleted_is_brought_back_by_one_click(home: Path, spd_home: Path) -> None:  # noqa: F811
    move_to_trash([read_shelf().things[Ref("text", TEXT)]])
    at = opened(home, spd_home, **{session.LIBRARY_VIEW: "Trash"})
    next(one for one in at.button if one.label == "Bring back").click().run()
    assert not at.exception
    assert (home / "texts" / f"{TEXT}.json").is_file()
    next(one for one in at.button if one.label == "Move 4 sets to the trash").click().run()
    assert not list((home / "evaluations").glob("*"))
    next(one for one in at.button if one.label == "Undo").click().run()
    assert len(list((home / "evaluations").glob("*"))) == 4


def test_a_bundle_is_replayed_before_it_is_brought_in(
    home: Path, second_home: Path, spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    answers = sorted((home / "evaluations").iterdir())[0].name
    bundle = write_bundle([Ref("answers", answers), Ref("capability", "doubles")], tmp_path / "a.zip")
    monkeypatch.setenv("SPD_HOME", str(second_home))
    at = opened(second_home, spd_home, **{session.LIBRARY_VIEW: "Import a bundle"})
    at.text_input(key=session.BUNDLE_PATH).input(str(bundle)).run()
    next(one for one in at.button if one.label == "Replay first").click().run()
    at.session_state[session.REPLAY_JOB].join(LONG)
    at.run()
    assert not at.exception
    table = next(one.proto.body for one in at.get("html") if "Numbers as recorded" in one.proto.body)
    assert table.count("✓") == 3, "the files of two things, and the answers"
    assert "there is nothing to replay" in table
    assert not (second_home / "evaluations").exists(), "it was not brought in"
