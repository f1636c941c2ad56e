"""Token attributions in a browser: what only one can show of the strip, the keys, the lists and the live parts."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import accessible, button, capture, go_to, main, settled
from tests.waiting import until

pytestmark = pytest.mark.builtin
TABS = ("Energy shares", "Coordinates", "Logit lens", "Causal check")
EVIL = '![x](http://evil.example/1) <img src="http://evil.example/2"> <script>alert(1)</script> \x1b[31m \u202eabc'


def show(page: Page, tab: str) -> None:
    main(page).get_by_role("tab", name=tab).click()
    settled(page)


def read_own_text(page: Page, text: str) -> None:
    show(page, "Coordinates")
    main(page).get_by_text("Your own text").first.click()
    settled(page)
    field = main(page).get_by_role("textbox", name="Your own text")
    field.fill(text)
    field.press("Control+Enter")
    expect(main(page).get_by_text("Provenance")).to_be_visible()
    settled(page)


def test_keys_step_through_directions_and_never_while_typing(open_app: Callable[..., Page]) -> None:
    page = open_app("/attributions")
    expect(main(page).get_by_role("listbox")).to_have_count(2)
    expect(page.locator("[data-listening]")).to_have_count(1)
    for key, direction in (("j", 2), ("j", 3), ("k", 2)):
        page.keyboard.press(key)
        expect(page).to_have_url(re.compile(f"direction={direction}&"))
        settled(page)
    field = main(page).get_by_role("spinbutton", name="Direction of")
    field.click()
    field.press("j")
    settled(page)
    expect(page).to_have_url(re.compile("direction=2&"))


def test_every_fast_press_of_a_key_counts(open_app: Callable[..., Page]) -> None:
    page = open_app("/attributions")
    expect(page.locator("[data-listening]")).to_have_count(1)
    for key, direction in (("j", 4), ("k", 1)):
        for _ in range(3):
            page.keyboard.press(key)
        expect(page).to_have_url(re.compile(f"direction={direction}&"))
        settled(page)
    expect(main(page).get_by_role("spinbutton", name="Direction of")).to_have_value("1")


_CONTRASTS = """strips => strips.flatMap(strip => [...strip.querySelectorAll(".tk")]).flatMap(token => {
  const numbers = (colour) => colour.match(/\\d[\\d.e-]*/g).map(Number);
  const page = numbers(getComputedStyle(document.querySelector(".stApp")).backgroundColor).map((part) => part / 255);
  const [red, green, blue, alpha = 1] = numbers(getComputedStyle(token).backgroundColor.replace("srgb", ""));
  const light = (colour) => colour.slice(0, 3)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0.05);
  const seen = [red, green, blue].map((part, i) => alpha * part + (1 - alpha) * page[i]);
  const pair = [light(seen), light(page)];
  return [[Number(token.style.getPropertyValue("--shade")), Math.max(...pair) / Math.min(...pair)]];
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_fifth_of_the_largest_colour_can_be_seen(open_app: Callable[..., Page], scheme: str) -> None:
    page = open_app("/attributions", color_scheme=scheme)
    expect(main(page).get_by_role("listbox")).to_have_count(2)
    expect(main(page).get_by_role("listbox").last.locator(".tk").first).to_be_visible()
    settled(page)
    found = main(page).get_by_role("listbox").evaluate_all(_CONTRASTS)
    coloured = [contrast for shade, contrast in found if shade >= 0.2]
    assert len(coloured) >= 3
    assert min(coloured) > (1.1 if scheme == "light" else 1.3), "WCAG's contrast to the page; 1 cannot be seen"
    assert max(contrast for shade, contrast in found if not shade) == 1


def test_the_strip_is_read_and_chosen_with_mouse_and_keys(open_app: Callable[..., Page]) -> None:
    page = open_app("/attributions")
    tokens = main(page).get_by_role("listbox").first.get_by_role("option")
    expect(tokens.nth(5)).to_have_attribute("aria-label", re.compile(r"position 5 · token id \d+\nenergy share"))
    tip = main(page).locator(".tip").first

    def hovered() -> bool:  # charts that are drawn meanwhile can move the strip away under the mouse
        tokens.nth(4).hover()
        tokens.nth(5).hover()
        return "nats per unit" in (tip.text_content() or "")

    until(hovered)
    expect(tip).to_be_visible()
    tokens.nth(5).click()
    expect(page).to_have_url(re.compile("token=5"))
    settled(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(7)).to_be_focused()
    page.keyboard.press("Escape")
    expect(main(page).locator(".tip").first).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("token=7"))
    settled(page)
    expect(tokens.nth(7)).to_be_focused()
    expect(tokens.nth(7)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile("direction=2&"))


def test_a_row_of_the_lists_selects_its_token(open_app: Callable[..., Page]) -> None:
    page = open_app("/attributions?view=Coordinates")
    frame = main(page).get_by_test_id("stDataFrame").first
    frame.scroll_into_view_if_needed()
    drawn = "canvas => canvas.getContext('2d').getImageData(16, 52, 1, 1).data[3]"  # opaque where the row's box is
    page.wait_for_function(drawn, arg=frame.locator("canvas").first.element_handle())
    frame.click(position={"x": 16, "y": 52})  # the first row's box
    expect(page).not_to_have_url(re.compile("token=0(&|$)"))


def test_hostile_text_is_shown_and_nothing_more(open_app: Callable[..., Page], tmp_path: Path) -> None:
    file = tmp_path / "evil.jsonl"
    rows = [{"capability": "evil"}, {"id": "e", "prompt": f"What is {EVIL}?", "answer": EVIL}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = open_app("/?capability=your+own+file")
    page.locator('input[type="file"]').set_input_files(file)
    expect(page.locator(".spd-strip")).to_be_visible()
    capture(page, 1)
    go_to(page, "Token attributions")
    literal = EVIL.replace(" ", "·").replace("\x1b", "⟨U+001B⟩")
    for part in literal.split("·")[:4]:
        expect(main(page).get_by_role("listbox").first).to_contain_text(part)
    read_own_text(page, EVIL)
    expect(main(page).get_by_role("listbox")).to_contain_text("⟨U+202E⟩")
    expect(main(page).locator("img, script")).to_have_count(0)


def test_the_causal_check_stops_and_keeps_what_it_has(open_app: Callable[..., Page]) -> None:
    # The longest texts of the recorded captures: on short ones the check could end before a busy page has drawn it.
    page = open_app("/attributions?capture=python-functions&layer=15&direction=9&view=Causal+check")  # not recorded
    button(page, "Run the causal check").click()
    expect(main(page).get_by_text(re.compile(r"\d+ of 50 texts"))).to_be_visible()
    button(page, "Stop").click()
    expect(main(page).get_by_text(re.compile(r"stopped at \d+ of 50 texts"))).to_be_visible()
    with page.expect_download() as csv:
        button(page, "All values as CSV").click()
    assert Path(csv.value.path()).read_text().startswith("example_id,position,id,text,unchanged,removed,only it")


def test_axe_and_a_phone(open_app: Callable[..., Page]) -> None:
    page = open_app("/attributions", color_scheme="light")
    for tab in TABS:
        show(page, tab)
        if tab == "Coordinates":
            read_own_text(page, "Two plus two is four.\nIs it?")
            main(page).get_by_role("option").nth(2).focus()
        if tab == "Logit lens":
            button(page, "Compute the lens").click()
            expect(main(page).get_by_text("192 directions in")).to_be_visible()
        accessible(page, tab)
