"""What a person does in the app, step by step, and what every page must fulfil."""

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}}
expect.set_options(timeout=90_000)  # the first test waits for torch and the model, on a machine that may be busy


def settled(page: Page) -> None:
    """Wait until the script has run."""
    page.wait_for_timeout(250)  # let the rerun start first
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000)


def main(page: Page) -> Locator:
    return page.get_by_test_id("stMain")


def button(page: Page, name: str) -> Locator:
    return main(page).get_by_role("button", name=name)


def go_to(page: Page, name: str) -> None:
    page.get_by_test_id("stTopNavLink").filter(has_text=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("SPD Lab" if name == "Home" else name)
    settled(page)


def set_number(page: Page, popover: str, name: str, value: int) -> None:
    """Open a popover, fill a number in, and close it."""
    main(page).get_by_role("button", name=popover, exact=True).click()
    field = page.get_by_role("spinbutton", name=name)
    field.fill(str(value))
    field.press("Enter")
    page.keyboard.press("Escape")
    settled(page)


def capture(page: Page, examples: int = 4) -> None:
    """On Home: capture a few examples, and wait for the summary."""
    expect(page.locator(".spd-strip")).to_be_visible()
    set_number(page, "Settings", "Calibration examples", examples)
    button(page, "Capture gradients").click()
    expect(main(page)).to_contain_text(f"Examples used: {examples} of {examples}")
    settled(page)


def generate(page: Page, tokens: int = 8) -> None:
    """On Side by side: write a few tokens, and wait for both lanes."""
    set_number(page, "Sampling", "Most new tokens", tokens)
    button(page, "Generate").click()
    expect(main(page).get_by_text(re.compile(r"(ended by itself|reached the limit) · \d+ tokens"))).to_have_count(2)
    settled(page)


def accessible(page: Page, what: str) -> None:
    """Axe finds nothing (WCAG 2.2 AA), and on a phone nothing is wider than the screen."""
    found = Axe().run(page, options=RULES)
    broken = [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found.response["violations"]]
    assert not broken, f"{what}: {broken}"
    page.set_viewport_size({"width": 390, "height": 844})
    for _ in range(20):  # charts follow the width of the screen a little later
        page.wait_for_timeout(300)
        too_wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - innerWidth")
        if too_wide <= 0:
            break
    assert too_wide <= 0, f"{what}: {too_wide} px too wide on a phone"
    page.set_viewport_size({"width": 1366, "height": 768})
