"""A reload while text is written: it goes on, is shown again, and is announced on other pages."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import button, go_to, main, settled
from tests.e2e.test_app import STOPPED

pytestmark = pytest.mark.builtin


def test_a_reload_keeps_what_is_written(open_app: Callable[..., Page]) -> None:
    page = open_app("/side-by-side?choice=greedy&new_tokens=2000&show=text+alone")
    page.get_by_role("textbox", name="Prompt").fill("Repeat the word yes for ever: yes yes yes yes yes yes yes yes")
    page.keyboard.press("Tab")
    settled(page)
    button(page, "Generate").click()
    expect(main(page)).to_contain_text("writing… · ")
    page.reload()
    expect(main(page)).to_contain_text("writing… · ")
    go_to(page, "Spectrum")
    expect(main(page)).to_contain_text("Writing lanes")
    main(page).get_by_role("button", name="Open").click()
    button(page, "Stop generating").click()
    expect(main(page).get_by_text(STOPPED).first).to_be_visible()
