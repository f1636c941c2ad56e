"""Over prompts and seeds in a browser, on what is recorded: a click on a mark opens its text, and its link does."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.e2e.steps import accessible, button, main, settled


def test_a_click_on_a_mark_opens_that_text(open_app: Callable[..., Page]) -> None:
    page = open_app("/side-by-side")
    expect(main(page)).to_contain_text("Over 8 prompts × 3 seeds")
    expect(page.get_by_role("spinbutton", name="Prompts")).to_have_value("8")
    main(page).get_by_text("every text to open").click()
    marks = page.locator(".stPlotlyChart").nth(1).locator(".scatterlayer .points path")
    expect(marks).to_have_count(72)
    settled(page)
    marks.nth(0).scroll_into_view_if_needed()
    marks.nth(0).click(force=True)
    chosen = page.get_by_role("combobox", name="Text to read")
    expect(chosen).to_have_value("What is 4 multiplied by 11? · seed 0")
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("What does 3 plus 19 equal?")
    settled(page)
    button(page, "Open as the result above").click()
    expect(page).to_have_url(re.compile(r"written=arithmetic\.p1\.s1"))
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("What is 4 multiplied by 11?")
    settled(page)
    accessible(page, "Over prompts and seeds")
    copied = open_app(urlsplit(page.url)._replace(scheme="", netloc="").geturl())
    expect(copied.get_by_role("textbox", name="Prompt")).to_have_value("What is 4 multiplied by 11?")
