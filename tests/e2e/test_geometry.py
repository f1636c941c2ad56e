"""Geometry in a browser: pointing, clicking, dragging the strength, turning; and where the browser has no WebGL."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.steps import accessible, main, settled
from tests.waiting import until

pytestmark = pytest.mark.builtin
VIEW = "/attributions?view=Geometry"
NO_WEBGL = """
const context = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : context.call(this, kind, ...rest);
};
"""
_INKED = """canvas => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  return new Promise((resolve) => requestAnimationFrame(() => {
    copy.getContext("2d").drawImage(canvas, 0, 0);
    const pixels = copy.getContext("2d").getImageData(0, 0, copy.width, copy.height).data;
    resolve(pixels.filter((_, at) => at % 4 === 3 && pixels[at] > 0).length);
  }));
}"""


def stage_of(page: Page) -> Locator:
    stage = main(page).locator(".stage")
    expect(stage).to_have_attribute("data-drawn", re.compile(r"\d"))
    stage.scroll_into_view_if_needed()
    return stage


def point_at_a_token(page: Page, stage: Locator) -> tuple[float, float]:
    """Move the mouse over the picture until a token is told; where it then is."""
    box = stage.bounding_box()
    assert box is not None
    for y in range(420, 60, -12):
        for x in range(250, 700, 12):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if main(page).locator(".stage .tip").is_visible():
                return box["x"] + x, box["y"] + y
    raise AssertionError("no token lies under the mouse")


def drawn(stage: Locator) -> int:
    return int(stage.get_attribute("data-drawn") or 0)


def test_a_token_is_read_in_its_text_and_selected_with_a_click(open_app: Callable[..., Page]) -> None:
    page = open_app(VIEW)
    stage = stage_of(page)
    spot = point_at_a_token(page, stage)
    tip = main(page).locator(".stage .tip")
    expect(tip).to_contain_text(re.compile(r"text \d+ \(arithmetic-\d+\), position \d+"))
    expect(tip.locator("b")).not_to_be_empty()
    told = re.search(r"text (\d+) \(.*position (\d+)", tip.inner_text())
    assert told
    page.mouse.click(*spot)
    expect(page).to_have_url(re.compile(f"text={told[1]}&token={told[2]}(&|$)"))
    settled(page)
    main(page).get_by_role("tab", name="Coordinates").click()
    settled(page)
    chosen = main(page).get_by_role("listbox").get_by_role("option").nth(int(told[2]))
    expect(chosen).to_have_attribute("aria-selected", "true")


def test_the_strength_moves_points_and_stands_in_the_link(open_app: Callable[..., Page]) -> None:
    page = open_app(VIEW + "&third=direction+2")
    stage = stage_of(page)
    before = drawn(stage)
    slider = main(page).get_by_role("slider", name="Strength")
    slider.fill("1")
    expect(main(page).locator(".said")).to_have_text("1.00")
    expect(page).to_have_url(re.compile("moved=1(&|$)"))
    settled(page)
    point_at_a_token(page, stage)
    expect(main(page).locator(".stage .tip")).to_contain_text("outside rank 16 0 ")
    turned = drawn(stage)
    assert turned > before
    stage.locator(".front").focus()
    page.keyboard.press("ArrowLeft")
    until(lambda: drawn(stage) > turned)
    page.reload()
    settled(page)
    stage_of(page)
    expect(main(page).locator(".said")).to_have_text("1.00")


@pytest.mark.parametrize("has_webgl", [True, False])
def test_points_are_drawn_with_and_without_webgl(open_app: Callable[..., Page], has_webgl: bool) -> None:
    page = open_app(VIEW)
    if not has_webgl:
        page.add_init_script(NO_WEBGL)
        page.reload()
        settled(page)
    stage = stage_of(page)
    note = main(page).get_by_text("This browser has no WebGL")
    if stage.get_attribute("data-webgl") == "true":
        assert has_webgl
        expect(note).to_be_hidden()
    else:
        expect(note).to_be_visible()
    points = stage.locator(".points")
    assert points.evaluate("canvas => canvas.getContext('2d') !== null"), "WebGL's own canvas is cut off by scrolling"
    assert points.evaluate(_INKED) > 1000
    point_at_a_token(page, stage)


def test_axe_and_a_phone(open_app: Callable[..., Page]) -> None:
    page = open_app(VIEW + "&third=direction+2", color_scheme="light")
    stage_of(page)
    accessible(page, "Geometry")
