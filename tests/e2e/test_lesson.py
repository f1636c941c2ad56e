"""How it works in a browser: its steps by click, key and link; presented by keyboard; on a phone; axe."""

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Locator, Page, expect

from app.lesson.screens import STEPS
from tests.e2e.steps import accessible, click_point, main, settled
from tests.e2e.test_geometry import NO_WEBGL
from tests.waiting import until

pytestmark = pytest.mark.builtin
LESSON = "/how-it-works"
SMALL, LARGE = "16px", "20.49px"
"""The type of the page, and 1.5% of a width of 1366 pixels."""


def shows(page: Page, step: int) -> None:
    """Wait for a step: its heading, what it says, and its address."""
    expect(main(page).get_by_role("heading", level=2)).to_have_text(f"{step} of 7 · {STEPS[step - 1].title}")
    expect(page).to_have_url(re.compile(rf"[?&]step={step}(&|$)"))
    settled(page)


def verdict(page: Page) -> Locator:
    return main(page).locator(".spd-verdict-box")


def test_steps_by_name_button_and_key(open_app: Callable[..., Page]) -> None:
    page = open_app(LESSON)
    shows(page, 1)
    steps = main(page).get_by_role("radio")
    expect(steps).to_have_count(7)
    steps.filter(has_text="Directions").click()
    shows(page, 4)
    expect(steps.nth(3)).to_be_checked()
    main(page).get_by_role("button", name="Next").click()
    shows(page, 5)
    page.keyboard.press("k")
    shows(page, 4)
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    shows(page, 2)
    page.keyboard.press("ArrowRight")
    shows(page, 3)


def test_presented_by_keyboard_alone(open_app: Callable[..., Page]) -> None:
    page = open_app(LESSON + "?step=2")
    shows(page, 2)
    page.keyboard.press("p")
    expect(page).to_have_url(re.compile("present=1(&|$)"))
    for outside in (page.get_by_test_id("stHeader"), main(page).get_by_role("heading", level=1)):
        expect(outside).to_be_hidden()
    expect(page.locator("html")).to_have_css("font-size", LARGE)
    settled(page)
    page.keyboard.press("ArrowRight")
    shows(page, 3)
    page.keyboard.press("PageDown")  # as a remote control sends it
    shows(page, 4)
    page.reload()
    shows(page, 4)
    expect(page.get_by_test_id("stHeader")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stHeader")).to_be_visible()
    expect(page.locator("html")).to_have_css("font-size", SMALL)
    expect(page).not_to_have_url(re.compile("present="))
    shows(page, 4)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("step=2&lesson_token=0", "For the token “Question”, layer 29 keeps a value"),
        ("step=3&lesson_token=0&lesson_aside=true", "“Question” is at the first position, which is left out."),
        ("step=4&lesson_angle=0", "Found: this is direction 1."),
        ("step=5&lesson_strength=0.5", "At strength 0.5, what lies outside the subspace of rank 16 shrinks"),
        ("step=6&lesson_prompt=3", "The right answer is 6."),
        ("step=7&lesson_set=Multiple+choice", "on Multiple choice"),
    ],
)
def test_a_link_restores_a_step_with_its_controls(open_app: Callable[..., Page], link: str, said: str) -> None:
    page = open_app(f"{LESSON}?{link}")
    expect(verdict(page)).to_contain_text(said)
    for part in link.split("&"):
        expect(page).to_have_url(re.compile(rf"[?&]{re.escape(part)}(&|$)"))


def test_a_control_changes_the_picture_and_the_link_and_keeps_its_arrow_keys(open_app: Callable[..., Page]) -> None:
    page = open_app(LESSON + "?step=5")
    expect(verdict(page)).to_contain_text("nothing moves")
    slider = main(page).get_by_role("slider", name="Strength")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(verdict(page)).to_contain_text("At strength 0.05")
    expect(page).to_have_url(re.compile("lesson_strength=0.05(&|$)"))
    shows(page, 5)
    page.keyboard.press("j")
    shows(page, 6)
    page.keyboard.press("k")
    shows(page, 5)
    expect(verdict(page)).to_contain_text("At strength 0.05")


def test_a_click_on_an_arrow_chooses_its_token(open_app: Callable[..., Page]) -> None:
    page = open_app(LESSON + "?step=3")
    expect(verdict(page)).to_contain_text("“1” is a loss token")

    def chosen() -> bool:
        """A busy browser can draw the figure anew between the hover and the click, which is lost then."""
        with suppress(Error):
            click_point(page, 0, "other token", 1)
        return "lesson_token=0" in page.url

    until(chosen)
    expect(verdict(page)).to_contain_text("“Question” is no loss token")
    shows(page, 3)


def test_an_answer_is_hidden_until_it_is_asked_for(open_app: Callable[..., Page]) -> None:
    page = open_app(LESSON + "?step=4")
    answer = main(page).get_by_text(STEPS[3].answer)
    expect(answer).to_be_hidden()
    main(page).get_by_text(STEPS[3].question).click()
    expect(answer).to_be_visible()


def test_the_cloud_is_drawn_and_turned(open_app: Callable[..., Page]) -> None:
    page = open_app(LESSON + "?step=4")
    stage = main(page).locator(".stage")
    expect(stage).to_have_attribute("data-drawn", re.compile(r"\d"))
    settled(page)
    before = int(stage.get_attribute("data-drawn") or 0)
    stage.locator(".front").focus()
    page.keyboard.press("ArrowLeft")
    until(lambda: int(stage.get_attribute("data-drawn") or 0) > before)
    shows(page, 4)
    expect(main(page).get_by_role("slider", name="Strength")).to_be_hidden()


def test_the_cloud_is_drawn_without_webgl(open_app: Callable[..., Page]) -> None:
    page = open_app(LESSON)
    page.add_init_script(NO_WEBGL)
    page.goto(page.url.replace("step=1", "step=4"))
    expect(main(page).locator(".stage")).to_have_attribute("data-webgl", "false")
    expect(main(page).get_by_text("This browser has no WebGL")).to_be_visible()
    shows(page, 4)


@pytest.mark.parametrize("step", range(1, 8))
def test_axe_and_a_phone(open_app: Callable[..., Page], step: int) -> None:
    page = open_app(f"{LESSON}?step={step}", color_scheme="light")
    shows(page, step)
    accessible(page, f"How it works, step {step}")


def test_axe_presented(open_app: Callable[..., Page]) -> None:
    page = open_app(f"{LESSON}?step=3&present=1", color_scheme="light")
    shows(page, 3)
    accessible(page, "How it works, presented")
