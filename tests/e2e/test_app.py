"""The app as a stranger uses it: the whole way through, permalinks, two tabs, hostile files, axe, a phone."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import accessible, button, capture, generate, go_to, main, settled

PAGES = ("Home", "Spectrum", "Side by side")
pytestmark = pytest.mark.builtin


def test_the_whole_way(open_app: Callable[..., Page]) -> None:
    page = open_app()
    capture(page)
    main(page).get_by_role("link", name="See the spectrum").click()
    charts = page.get_by_role("figure")
    expect(charts).to_have_count(2)
    expect(charts.nth(1)).to_have_attribute("aria-label", re.compile(r"rank 96: layer 15 key keeps \d"))
    page.get_by_role("slider").press("ArrowRight")
    expect(charts.nth(1)).to_have_attribute("aria-label", re.compile("rank 97"))
    expect(page).to_have_url(re.compile(r"rank=97"))
    with page.expect_download() as csv:
        button(page, "All values as CSV").click()
    assert len(Path(csv.value.path()).read_text().splitlines()) == 1 + 4 * 192
    with page.expect_download() as html:
        button(page, "Figures as HTML").click()
    assert "https://cdn" not in Path(html.value.path()).read_text()[:5000]

    main(page).get_by_role("link", name="Read what projecting").click()
    expect(main(page)).to_contain_text("rank 97 of 192")
    button(page, "Sampling").click()
    field = page.get_by_role("spinbutton", name="Most new tokens")
    field.fill("2000")
    field.press("Enter")
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="Prompt").fill("Count from 1 to 500: 1, 2, 3,")
    page.get_by_role("textbox", name="Prompt").press("Control+Enter")
    expect(main(page).get_by_text(re.compile(r"writing… · ([4-9]|\d\d) tokens")).first).to_be_visible()
    button(page, "Stop generating").click()
    expect(main(page).get_by_text(re.compile(r"stopped · [1-9]\d* tokens")).first).to_be_visible()
    expect(main(page)).to_contain_text("What is projected")
    main(page).get_by_text("What the model read").click()
    expect(page.get_by_test_id("stCode").last).to_contain_text("Question: Count from 1 to 500: 1, 2, 3,")
    expect(main(page)).to_contain_text("Provenance")
    assert "Count" not in page.url

    go_to(page, "Spectrum")
    expect(page.get_by_role("figure").nth(1)).to_have_attribute("aria-label", re.compile("rank 97"))
    go_to(page, "Side by side")
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("Count from 1 to 500: 1, 2, 3,")
    expect(main(page).get_by_text(re.compile(r"stopped · ")).first).to_be_visible()


def test_stop_capturing_keeps_what_is_there(open_app: Callable[..., Page]) -> None:
    page = open_app("/?examples=60&batch=1&capability=python-functions")
    expect(page.locator(".spd-strip")).to_be_visible()
    button(page, "Capture gradients").click()
    expect(main(page).get_by_text(re.compile(r"[1-9]\d* of \d+ examples"))).to_be_visible()
    button(page, "Stop capturing").click()
    expect(main(page)).to_contain_text("Stopped early")
    expect(main(page)).to_contain_text(re.compile(r"Examples used: \d+ of \d+"))


def test_a_link_restores_the_view(open_app: Callable[..., Page]) -> None:
    page = open_app("/?capability=multiple-choice&loss=full&style=chat&examples=7&layers=3%2C7&batch=9999")
    for _ in range(2):
        expect(main(page)).to_contain_text("General knowledge with four options")
        for name in ("full", "chat"):
            expect(page.get_by_role("radio", name=name)).to_be_checked()
        expect(main(page)).to_contain_text("7 examples, layers 3,7")
        button(page, "Settings").click()
        expect(page.get_by_role("spinbutton", name="Batch size")).to_have_value("8")  # out of range: the default
        page.reload()
        settled(page)


def test_two_tabs_share_one_model(open_app: Callable[..., Page]) -> None:
    pages = [open_app("/?examples=6"), open_app("/?examples=6")]
    for page in pages:
        expect(page.locator(".spd-strip")).to_be_visible()
    for page in pages:
        button(page, "Capture gradients").click()
    losses = []
    for page in pages:
        expect(main(page)).to_contain_text("Examples used: 6 of 6")
        found = re.search(r"Mean loss: ([\d.]+) nats", main(page).inner_text())
        assert found
        losses.append(found[1])
    assert losses[0] == losses[1]


def test_hostile_text_is_shown_and_nothing_more(open_app: Callable[..., Page], tmp_path: Path) -> None:
    evil = '![x](http://evil.example/1) <img src="http://evil.example/2"> :red[r] $x$ **b** <script>alert(1)</script>'
    file = tmp_path / "evil.jsonl"
    rows = [
        {"capability": evil, "title": evil, "description": evil},
        {"id": evil, "prompt": f"What is {evil}?", "answer": evil},
        {"split": "heldout", "prompt": f"Repeat {evil}", "answer": evil},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = open_app("/?capability=your+own+file")
    page.locator('input[type="file"]').set_input_files(file)
    expect(page.locator(".spd-strip")).to_be_visible()
    capture(page, 1)
    for name in ("Spectrum", "Side by side"):
        go_to(page, name)
        expect(main(page)).to_contain_text(evil)
    generate(page)
    go_to(page, "Home")
    expect(main(page)).to_contain_text(evil)
    expect(main(page).locator("img, script, em")).to_have_count(0)
    file.write_text(json.dumps({"prompt": evil}) + "\n")
    page.locator('input[type="file"]').set_input_files(file)
    expect(main(page).get_by_role("alert")).to_contain_text("evil.jsonl, line 1: answer: Field required")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_and_a_phone(open_app: Callable[..., Page], scheme: str) -> None:
    page = open_app("/?layers=0,1,2,3,29", color_scheme=scheme)
    for state in ("empty", "full"):
        for name in PAGES:
            go_to(page, name)
            if state == "full" and name == "Home":
                capture(page)
            if state == "full" and name == "Side by side":
                generate(page)
            if state == "full" and name == "Spectrum":
                expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
            accessible(page, f"{name}, {state}")
