"""What a person does in the app, step by step, and what every page must fulfil."""

import re
from contextlib import suppress
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, expect

from tests.waiting import LONG, until

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
"""What depends on the theme, of a page that is the same in both."""
FINISHED = re.compile(r"(stopped at end of text|reached the limit) · \d+ tokens")

_LISTEN = """
window.spd = {sent: 0, got: 0};
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", () => { window.spd.got = performance.now(); });
  }
  send(data) { window.spd.sent = performance.now(); super.send(data); }
};
"""
# The server has answered what was sent (or will not, within a second), its script has ended, no more is coming, and
# the code of every widget has come: until then a widget is a grey skeleton, and takes no key.
_SETTLED = """() => {
  const {sent, got} = window.spd, now = performance.now();
  const app = document.querySelector('[data-testid="stApp"]');
  return sent && got && app && app.dataset.testScriptState === "notRunning"
    && !document.querySelector('[data-testid="stSkeleton"]')
    && now - Math.max(sent, got) > 100 && (got > sent || now - sent > 1000);
}"""
expect.set_options(timeout=1000 * LONG)


def session(browser: Browser, **options: Any) -> BrowserContext:
    """A session of its own in the browser, on the screen of a small laptop.

    What waits for a state evaluates text, which the app's policy forbids to pages: `test_gate.py` keeps the policy.
    """
    context = browser.new_context(viewport={"width": 1366, "height": 768}, bypass_csp=True, **options)
    context.set_default_timeout(1000 * LONG)
    context.add_init_script(_LISTEN)
    return context


def settled(page: Page) -> None:
    """Wait until the script has run on what was done to the page, and the page has it."""
    page.wait_for_function(_SETTLED)


def main(page: Page) -> Locator:
    return page.get_by_test_id("stMain")


def button(page: Page, name: str) -> Locator:
    return main(page).get_by_role("button", name=name)


def go_to(page: Page, name: str) -> None:
    page.get_by_test_id("stTopNavLink").filter(has_text=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("SPD Lab" if name == "Home" else name)
    settled(page)


def grid_is_drawn(page: Page) -> None:
    """Wait until something is painted where the box of the first row of the page's first table is."""
    page.wait_for_function(_GRID_IS_DRAWN)


_GRID_IS_DRAWN = """() => {
  const canvas = document.querySelector("[data-testid=stMain] [data-testid=stDataFrame] canvas");
  return canvas && canvas.getContext("2d").getImageData(16, 52, 1, 1).data[3] > 0;
}"""


def click_grid(page: Page, row: int, across: int) -> None:
    """Click `across` pixels into a row, counted from 0, of the page's table: it is drawn, not made of elements."""
    settled(page)  # a click may draw the table anew
    table = main(page).get_by_test_id("stDataFrame")
    found: list[Any] = []

    def placed() -> object:
        with suppress(Error):  # it is drawn anew at this moment, or the one before it is still there
            table.scroll_into_view_if_needed()
            found.append(table.bounding_box())
        return found and found[-1]

    until(placed)
    box = found[-1]
    page.mouse.click(box["x"] + across, box["y"] + 35 + 35 * row + 17)


def set_number(page: Page, popover: str, name: str, value: int) -> None:
    """Open a popover, fill a number in, and close it."""
    main(page).get_by_role("button", name=popover, exact=True).click()
    field = page.get_by_role("spinbutton", name=name)
    field.fill(str(value))
    field.press("Enter")
    page.keyboard.press("Escape")
    settled(page)


def set_setting(page: Page, name: str, value: int) -> None:
    """On Side by side: fill a number in, in the drawer of the settings."""
    drawer = main(page).locator("details", has_text="Lanes, projection and sampling")
    if drawer.get_attribute("open") is None:
        drawer.locator("summary").first.click()  # the mixing desk in it is a fold, too
    field = page.get_by_role("spinbutton", name=name)
    field.fill(str(value))
    field.press("Enter")
    settled(page)


def capture(page: Page, examples: int = 4) -> None:
    """On Home: capture a few examples, and wait for the summary."""
    expect(page.locator(".spd-strip")).to_be_visible()
    set_number(page, "Settings", "Calibration examples", examples)
    button(page, "Capture gradients").click()
    expect(main(page)).to_contain_text(f"Examples used: {examples} of {examples}")
    settled(page)


def generate(page: Page, tokens: int = 8, lanes: int = 2) -> None:
    """On Side by side: write a few tokens, and wait for all lanes."""
    set_setting(page, "Max new tokens", tokens)
    button(page, "Generate").click()
    expect(main(page).get_by_text(FINISHED)).to_have_count(lanes)
    settled(page)


def click_point(page: Page, chart: int, trace: str, index: int) -> None:
    """Click a point of a curve, where plotly says that it is drawn."""
    figure = page.locator(".js-plotly-plot").nth(chart)
    figure.scroll_into_view_if_needed()
    at = figure.evaluate(
        """(node, [name, i]) => {
            const trace = node._fullData.find(t => t.name === name), layout = node._fullLayout;
            const axis = (key) => layout[key[0] + "axis" + key.slice(1)];
            const [x, y] = [axis(trace.xaxis), axis(trace.yaxis)], box = node.getBoundingClientRect();
            return [box.x + x._offset + x.c2p(trace.x[i]), box.y + y._offset + y.c2p(trace.y[i])];
        }""",
        [trace, index],
    )
    page.mouse.move(*at)
    page.wait_for_function("node => node._hoverdata?.length", arg=figure.element_handle())  # it found the point
    page.mouse.click(*at)
    settled(page)


def accessible(page: Page, what: str) -> None:
    """Axe finds nothing (WCAG 2.2 AA), in the dark neither, and on a phone nothing is wider than the screen."""
    page.mouse.move(0, 0)  # where the page has come to lie under the mouse, help fades in, pale at first
    expect(page.get_by_role("tooltip")).to_have_count(0)
    _axe(page, RULES, what)
    page.emulate_media(color_scheme="dark")
    page.evaluate("document.activeElement.blur()")  # a key in a field would be text
    page.keyboard.press("r")  # Streamlit's own key for running again: charts take the colours from the server
    settled(page)
    _axe(page, COLOURS, f"{what}, dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    # charts follow the width of the screen a little later
    page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 1366, "height": 768})


def _axe(page: Page, rules: Any, what: str) -> None:
    settled(page)  # while a script runs, what it has not drawn so far is faded
    # what fades, as the labels of a slider that loses the focus, has faded
    page.evaluate("for (const one of document.getAnimations()) if (one instanceof CSSTransition) one.finish()")
    found = Axe().run(page, options=rules)
    broken = [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found.response["violations"]]
    assert not broken, f"{what}: {broken}"


def to_a_small_evaluation(page: Page) -> None:
    """From a finished run to the form that evaluates its arms, with six items, ready to be started."""
    button(page, "Evaluate these arms").click()
    expect(page).to_have_url(re.compile("/evaluation"))
    settled(page)
    field = page.get_by_role("spinbutton", name="Items of arithmetic")
    field.fill("6")
    field.press("Enter")
    settled(page)
    expect(button(page, "Start evaluation")).to_be_enabled()
