"""The library in a browser, on a home with something of every kind: find, write on, compare, hand on, take back."""

import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect

from tests import ROOT
from tests.e2e.server import Server, own_server
from tests.e2e.steps import accessible, button, click_grid, grid_is_drawn, main, settled
from tests.library.test_shelf import CAPTURE, TEXT
from tests.waiting import until

pytestmark = pytest.mark.builtin


@pytest.fixture(scope="module")
def server(spd_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on what a version before has saved, and a second capture to compare with the first."""
    place = tmp_path_factory.mktemp("library")
    with tarfile.open(ROOT / "tests" / "saved" / "home-before-packages.tar.xz") as archive:
        archive.extractall(place, filter="data")
    shutil.copytree(place / "captures" / CAPTURE, place / "captures" / f"{CAPTURE}-copy")
    running = own_server(spd_home, place)
    yield running
    running.kill()


def show(page: Page, words: str) -> None:
    """Have the things alone listed that these words find."""
    field = main(page).get_by_role("textbox", name="Search")
    field.fill(words)
    field.press("Enter")
    settled(page)


def tick(page: Page, *rows: int) -> None:
    """Tick rows of the list, counted from 0."""
    settled(page)
    grid_is_drawn(page)
    for count, row in enumerate(rows, 1):
        until(lambda row=row, count=count: _takes_tick(page, row, count))  # type: ignore[misc]
        expect(main(page)).to_contain_text(f"{count} selected")
        settled(page)


def _takes_tick(page: Page, row: int, count: int) -> bool:
    """Click at a row; whether the grid has taken it, which the table for screen readers inside its canvas tells: a
    click on a grid that is drawn anew at that moment is nobody's."""
    click_grid(page, row, 16)
    with suppress(Error):
        page.wait_for_function(_SELECTED, arg=count, timeout=3000)
        return True
    return False


_SELECTED = """count => document.querySelectorAll(
  "[data-testid=stMain] [data-testid=stDataFrame] canvas tr[aria-selected=true]").length === count"""


def part(page: Page, name: str) -> None:
    """Turn to a part of the page."""
    main(page).get_by_role("radio", name=name).click()
    settled(page)


def test_a_thing_is_found_and_written_on(visit: Callable[..., Page]) -> None:
    page = visit("/library")
    expect(main(page)).to_contain_text("You have 2 captures, 2 texts, 1 fine-tuning run, 2 adapters, 1 evaluation")
    show(page, "multiplied by 11")
    tick(page, 0)
    accessible(page, "Library")
    tags = main(page).get_by_role("combobox", name="Tags")
    tags.fill("lecture")
    tags.press("Enter")
    page.keyboard.press("Escape")  # its list would lie over the button
    main(page).get_by_role("textbox", name="Note").fill("For the second hour.")
    button(page, "Save").click()
    settled(page)
    show(page, "second hour")
    tick(page, 0)
    expect(main(page).get_by_role("heading", name="What is 4 multiplied by 11?")).to_be_visible()
    expect(main(page)).to_contain_text("lecture")


def test_captures_are_compared(visit: Callable[..., Page]) -> None:
    page = visit("/library")
    show(page, "aligned loss")
    tick(page, 0, 1)
    button(page, "Compare").click()
    expect(main(page).get_by_role("heading", name="Captures beside each other")).to_be_visible()
    expect(main(page)).to_contain_text("layer 29 value100.0%50.0%50.7%more than chance")
    settled(page)
    accessible(page, "Compare")


def test_what_is_deleted_comes_back(visit: Callable[..., Page], server: Server) -> None:
    page = visit("/library")
    path = server.home / "capabilities" / "doubles.jsonl"
    show(page, "doubles")
    tick(page, 0)
    button(page, "Delete").click()
    expect(main(page)).to_contain_text("1 capability moved to the trash.")
    assert not path.exists()
    settled(page)
    part(page, "Trash")
    expect(main(page)).to_contain_text("doubles: 12 examples")
    accessible(page, "Trash")
    button(page, "Undo").click()
    expect(main(page)).to_contain_text("1 thing brought back.")
    assert path.exists()


def test_an_evaluation_is_replayed(visit: Callable[..., Page]) -> None:
    page = visit("/library")
    show(page, "5 subjects")
    tick(page, 0)
    button(page, "Replay").click()
    expect(main(page)).to_contain_text(re.compile(r"All \d+ numbers that could be compared match"))
    expect(main(page)).to_contain_text("No model was asked")
    settled(page)
    accessible(page, "Replay")


def test_a_bundle_goes_out_and_comes_in(visit: Callable[..., Page], server: Server, tmp_path: Path) -> None:
    page = visit("/library")
    show(page, "multiplied by 11")
    tick(page, 0)
    with page.expect_download() as waited:
        button(page, "Export bundle (2)").click()
    waited.value.save_as(tmp_path / "text.zip")
    text = server.home / "texts" / f"{TEXT}.json"
    kept = text.read_bytes()
    text.unlink()
    part(page, "Import a bundle")
    page.locator("input[type=file]").set_input_files(tmp_path / "text.zip")
    expect(main(page)).to_contain_text("The bundle is whole: 2 things")
    expect(main(page)).to_contain_text("1 is new, 1 is here already.")
    settled(page)
    accessible(page, "Import a bundle")
    button(page, "Import 1 thing").click()
    expect(main(page)).to_contain_text("1 thing imported.")
    assert text.read_bytes() == kept
