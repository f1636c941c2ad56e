"""A contrast in a browser: made of two recorded captures, without a model; axe, its link, a phone."""

from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.e2e.steps import accessible, button, main, settled


def test_what_is_alone_is_one_click_from_the_spectrum(open_app: Callable[..., Page]) -> None:
    page = open_app("/spectrum?capture=arithmetic&layer=15&kind=key&rank=25")
    button(page, "What is arithmetic's alone").click()
    asked = page.get_by_test_id("stPopoverBody")
    asked.get_by_label("Leave out what these share").click()
    page.get_by_role("option", name="multiple-choice (recorded)").click()
    page.keyboard.press("Escape")  # its list would lie over the button
    settled(page)
    asked.get_by_role("button", name="Make the contrast").click()
    expect(main(page)).to_contain_text(
        "25 directions hold 39% of the energy of arithmetic and 2.5% of that of multiple"
    )
    settled(page)
    accessible(page, "Contrast")
    copied = open_app(urlsplit(page.url)._replace(scheme="", netloc="").geturl())
    expect(main(copied)).to_contain_text("The plain subspace's 25 hold 96% and 71%")
