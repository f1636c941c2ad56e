"""A server for a class, in real browsers: nobody sees what others make, and what is not for a class says so."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.server import Server, own_server
from tests.e2e.steps import FINISHED, accessible, button, go_to, main, set_setting, settled


@pytest.fixture(scope="module")
def server(spd_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = own_server(spd_home, tmp_path_factory.mktemp("class"), SPD_MODE="classroom",
                         SPD_CLASSROOM_TRAINING="1")  # fmt: skip
    yield running
    running.end()


def write(page: Page, prompt: str) -> None:
    """A few tokens of a prompt of one's own."""
    set_setting(page, "Max new tokens", 5)
    field = page.get_by_role("textbox", name="Prompt")
    field.fill(prompt)
    field.press("Control+Enter")
    expect(page).to_have_url(re.compile("written="))
    expect(main(page).get_by_text(FINISHED).first).to_be_visible()
    settled(page)


def history(page: Page) -> str:
    """The newest result that the history knows."""
    button(page, "History").click()
    settled(page)
    said = page.get_by_role("combobox", name="the newest first").input_value()
    page.keyboard.press("Escape")
    return said


def test_nobody_sees_what_others_make_and_a_reload_keeps_it(visit: Callable[..., Page], server: Server) -> None:
    mine, another = visit("/side-by-side"), visit("/side-by-side")
    write(mine, "What is 1 + 1?")
    link = mine.url
    assert "What is 1 + 1?" in history(mine)
    mine.goto(f"{server.url}/side-by-side")  # a new session of the same browser
    settled(mine)
    assert "What is 1 + 1?" in history(mine)

    another.reload()
    settled(another)
    assert "What is 1 + 1?" not in history(another)
    another.goto(link)
    expect(main(another)).to_contain_text("This result cannot be opened")
    go_to(another, "Library")
    expect(main(another)).not_to_contain_text("What is 1 + 1?")
    go_to(mine, "Library")
    expect(main(mine)).to_contain_text("You have 1 text")

    shelves = sorted((server.home / "classroom").iterdir())
    assert [len(list(shelf.glob("texts/*.json"))) for shelf in shelves].count(1) == 1
    assert not (server.home / "texts").exists()


def test_what_is_not_for_a_class_says_so(visit: Callable[..., Page]) -> None:
    page = visit("/?examples=60&layers=0,1")
    expect(main(page)).to_contain_text("at most 100 examples × layers, and this has 60 × 2")
    expect(button(page, "Capture gradients")).to_be_disabled()
    expect(main(page)).to_contain_text("The built-in model")
    expect(main(page).get_by_text("Hub id or folder")).to_have_count(0)
    accessible(page, "Home, in a class")
    for path, said in (
        ("/evaluation?evaluations_view=New+evaluation", "no evaluations are started"),
        ("/library?library_view=Import+a+bundle", "no bundles are imported"),
    ):
        page = visit(path)
        expect(main(page)).to_contain_text(said)
        expect(page.locator("input[type=file]")).to_have_count(0)
        expect(page.get_by_role("button", name=re.compile("^(Start|Import a)"))).to_have_count(0)


def test_too_much_at_once_is_a_sentence(visit: Callable[..., Page]) -> None:
    page = visit("/side-by-side")
    set_setting(page, "Max new tokens", 2000)
    expect(main(page)).to_contain_text("at most 1,024 new tokens are written at once, and these are 6,000")
    expect(button(page, "Generate")).to_be_disabled()


def test_a_class_that_may_train_trains_the_preset_quick_and_nothing_else(visit: Callable[..., Page]) -> None:
    page, another = visit("/fine-tune?runs_view=New+run"), visit("/fine-tune?runs_view=All+runs")
    button(page, "Start fine-tuning").click()
    expect(main(page)).to_contain_text(re.compile("Stage [1-9] of 10"))
    another.reload()
    settled(another)
    expect(main(another)).not_to_contain_text("Stage")
    button(page, "Stop this run").click()
    expect(button(page, "Resume")).to_be_visible()
    page = visit("/fine-tune?runs_view=New+run")
    main(page).get_by_text("visible", exact=True).click()
    expect(main(page)).to_contain_text("only the preset quick is trained")
    expect(button(page, "Start fine-tuning")).to_be_disabled()
