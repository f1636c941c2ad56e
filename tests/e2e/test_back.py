"""Back leads from page to page: what changes on a page is no step of its own."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import ROOT
from tests.e2e.steps import go_to, main, settled

pytestmark = pytest.mark.builtin


def test_back_leads_page_by_page(open_app: Callable[..., Page]) -> None:
    page = open_app()
    begun = page.evaluate("history.length")
    go_to(page, "Spectrum")
    go_to(page, "Token attributions")
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile("direction=2"))
    settled(page)
    assert page.evaluate("history.length") == begun + 2, "a page each, and nothing for the direction"
    for name in ("Spectrum", "SPD Lab"):
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        settled(page)
    expect(page).to_have_url(re.compile("direction=2"))  # what is in hand is the same on all pages


def test_the_first_step_of_home_is_one_press_of_back_away(open_app: Callable[..., Page]) -> None:
    page = open_app()
    begun = page.evaluate("history.length")
    main(page).get_by_role("button", name="Start here").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Side by side")
    settled(page)
    assert page.evaluate("history.length") == begun + 1, "one entry for one page"
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("SPD Lab")
    settled(page)
    expect(main(page).get_by_role("button", name="Start here")).to_be_visible()


def test_on_a_phone_the_menu_closes_when_a_page_is_chosen(open_app: Callable[..., Page]) -> None:
    page = open_app()
    page.set_viewport_size({"width": 390, "height": 844})
    menu = page.get_by_test_id("stSidebarNav")
    for name in ("Spectrum", "Home"):
        page.get_by_test_id("stExpandSidebarButton").click()
        expect(menu).to_be_in_viewport()
        menu.get_by_role("link", name=name).click()
        expect(menu).not_to_be_in_viewport()
        expect(page.get_by_role("heading", level=1)).to_have_text("SPD Lab" if name == "Home" else name)
        settled(page)


def test_the_page_that_a_button_leaves_keeps_its_address(browser: Browser) -> None:
    page = browser.new_page()
    page.route("http://lab.test/**", lambda route: route.fulfill(body="<title>Lab</title>", content_type="text/html"))
    page.goto("http://lab.test/evaluation?item=4")
    page.evaluate((ROOT / "app" / "back.js").read_text("utf-8"))
    page.evaluate('history.pushState({}, "", "?item=5")')
    # What Streamlit does for `switch_page`: the parameters it is given, those that the next page writes, then its path.
    for given in ("", "?lane=2"):
        page.mouse.click(10, 10)
        for url in (f"/evaluation{given}", "/evaluation?capture=a", "/side-by-side?capture=a"):
            page.evaluate("url => history.pushState({}, '', url)", url)
        assert page.evaluate("location.href") == "http://lab.test/side-by-side?capture=a"
        page.go_back()
        assert page.evaluate("location.href") == "http://lab.test/evaluation?item=5"
    page.close()


@pytest.mark.parametrize("start", ["Home", "Spectrum"])
def test_a_link_to_the_tokens_leads_to_the_tokens(open_app: Callable[..., Page], start: str) -> None:
    page = open_app("/attributions?view=Coordinates")
    expect(main(page).get_by_role("tab", name="Coordinates")).to_have_attribute("aria-selected", "true")
    go_to(page, start)
    main(page).get_by_role("link", name="which tokens make a direction").click()
    expect(main(page).get_by_role("tab", name="Energy shares")).to_have_attribute("aria-selected", "true")
    expect(page).not_to_have_url(re.compile("Coordinates"))
