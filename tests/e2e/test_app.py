"""The app as a stranger uses it: the whole way through, permalinks, two tabs, hostile files, axe, a phone."""

import itertools
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Error, Page, expect

from tests.e2e.steps import (
    FINISHED,
    accessible,
    button,
    capture,
    click_point,
    generate,
    go_to,
    main,
    set_setting,
    settled,
)
from tests.waiting import until

PAGES = ("Home", "Spectrum", "Token attributions", "Side by side", "Fine-tune")
HARM = 'img, script, a[href*=evil], .katex, strong:text-is("b"), [style*=color]:text-is("r")'
"""What hostile text would put on a page."""
STOPPED = re.compile(r"stopped · [1-9]\d* tokens")
pytestmark = pytest.mark.builtin


def _click_until(page: Page, selected: re.Pattern[str]) -> None:
    """Click the first key of the first panel until the page says so: a busy browser can draw the figure anew between
    the hover and the click, which is lost then."""

    def said() -> bool:
        with suppress(Error):
            click_point(page, 0, "keys", 0)
        return selected.search(main(page).inner_text()) is not None

    until(said)
    expect(main(page)).to_contain_text(selected)


def test_the_whole_way(open_app: Callable[..., Page]) -> None:
    page = open_app()
    capture(page)
    main(page).get_by_role("link", name="See the spectrum").click()
    chart = page.get_by_role("figure")
    expect(chart).to_have_attribute("aria-label", re.compile(r"rank 96: layer 15 key keeps \d"))
    main(page).get_by_role("tab", name="Singular values").click()
    expect(chart).to_have_attribute("aria-label", re.compile(r"with the rank 96 marked"))
    main(page).get_by_role("tab", name="Cumulative energy").click()
    page.get_by_role("slider").press("ArrowRight")
    expect(chart).to_have_attribute("aria-label", re.compile("rank 97"))
    expect(page).to_have_url(re.compile(r"rank=97"))
    settled(page)
    _click_until(page, re.compile(r"selected: layer 15 key, direction [123]\b"))
    with page.expect_download() as csv:
        button(page, "All values as CSV").first.click()
    assert len(Path(csv.value.path()).read_text().splitlines()) == 1 + 4 * 192 * 2, "the capability and one null"
    with page.expect_download() as html:
        button(page, "Report (HTML)").click()
    assert "default-src &#39;none&#39;" in Path(html.value.path()).read_text()[:1000]

    go_to(page, "Token attributions")
    expect(main(page)).to_contain_text(re.compile(r"selected: layer 15 key, direction [123]\b"))
    expect(main(page)).to_contain_text("100.0000%")
    expect(page.get_by_role("radio", name="keys")).to_be_checked()

    go_to(page, "Side by side")
    expect(main(page)).to_contain_text("rank 97 of 192")
    set_setting(page, "Max new tokens", 2000)
    page.get_by_role("textbox", name="Prompt").fill("Count from 1 to 500: 1, 2, 3,")
    page.get_by_role("textbox", name="Prompt").press("Control+Enter")
    expect(main(page).get_by_text(re.compile(r"writing… · ([4-9]|\d\d+) tokens")).first).to_be_visible()
    button(page, "Stop generating").click()
    expect(main(page).get_by_text(STOPPED).first).to_be_visible()
    expect(main(page)).to_contain_text("What is projected")
    assert "Count" not in page.url, "a prompt is never in the URL"
    written = main(page).get_by_text(STOPPED).first.inner_text()

    page.reload()  # a new session: what is in hand and what was written come from the link
    settled(page)
    expect(main(page)).to_contain_text("rank 97 of 192")
    expect(main(page)).to_contain_text(written)
    with page.expect_download() as html:
        button(page, "Report (HTML)").click()
    assert page.context.browser is not None
    alone = page.context.browser.new_context(offline=True)
    opened = alone.new_page()
    opened.goto(f"file://{html.value.path()}")
    expect(opened.locator("body")).to_contain_text("Count from 1 to 500: 1, 2, 3,")
    alone.close()


def test_two_tabs_write_at_once_and_each_gets_its_own_text(open_app: Callable[..., Page], builtin_lm: Any) -> None:
    """What each tab shows is what the engine writes when it is alone; the second waits until the first is stopped."""
    from spd_core.generation.compare import compare
    from spd_core.recipes.lanes import RAW, LaneSpec, Sampling
    from spd_core.subspace.store import open_capture

    endless = "Repeat the word yes for ever: yes yes yes yes yes yes yes yes yes yes yes"  # one lane never does end
    prompts, most = (endless, "Name the capital of France."), (2000, 8)
    pages = [open_app(f"/side-by-side?choice=greedy&new_tokens={new}&show=text+alone") for new in most]
    for page, prompt in zip(pages, prompts, strict=True):
        page.get_by_role("textbox", name="Prompt").fill(prompt)
        page.keyboard.press("Tab")
        settled(page)
        button(page, "Generate").click()
        waits = "you take turns" if page is pages[1] else re.compile(r"writing… · [1-9]\d* tokens")
        expect(main(page)).to_contain_text(waits)
    button(pages[0], "Stop generating").click()
    expect(main(pages[0]).get_by_text(STOPPED).first).to_be_visible()
    expect(main(pages[1]).get_by_text(FINISHED)).to_have_count(2)
    for page, prompt in zip(pages, prompts, strict=True):
        settled(page)
        written = max(int(number) for number in re.findall(r" · (\d+) tokens", main(page).inner_text()))
        alone = compare(
            builtin_lm, open_capture("arithmetic"), prompt, [RAW, LaneSpec(rank="96")], Sampling(0.0, 0.9, written)
        )
        shown = [code.inner_text() for code in main(page).get_by_test_id("stCode").all()]
        for lane in alone.lanes:
            assert any(text.strip() == lane.text.strip() for text in shown), (lane.text, shown)


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
        expect(main(page)).to_contain_text("7 examples, layers 3, 7")
        button(page, "Settings").click()
        expect(page.get_by_role("spinbutton", name="Batch size")).to_have_value("8")  # out of range: the default
        page.reload()
        settled(page)


HAND = {"capture": "multiple-choice", "layer": "15", "kind": "key", "direction": "7", "text": "3", "token": "5",
        "rank": "40"}  # fmt: skip
VIEWS: list[tuple[str, dict[str, str]]] = [
    ("", {"capability": "python-functions", "loss": "solution", "examples": "9", "layers": "3,7", "centre": "false"}),
    ("spectrum", {"shown": "Singular values", "beside": "bootstrap band", "shapes": "true", "same_scales": "false"}),
    ("spectrum", {"shown": "Ratio to the null", "beside": "random directions"}),
    ("spectrum", {"shown": "Overlap", "overlap": "layers"}),
    ("spectrum", {"shown": "Gradient rows", "colour": "example"}),
    ("attributions", {"view": "Coordinates", "aside": "false"}),
    ("attributions", {"sums": "against the baseline"}),
    ("side-by-side", {"prompt_from": "calibration", "choice": "greedy", "new_tokens": "9", "also": "complement",
                      "alpha": "0.5", "show": "KL", "written": "multiple-choice-2"}),
]  # fmt: skip


def shown(page: Page) -> str:
    """All text of a page, less the memory that happens to be free."""
    return re.sub(r"Free now: [\d.]+ GiB", "", main(page).inner_text())


@pytest.mark.parametrize(("path", "view"), VIEWS)
def test_a_copied_link_restores_every_page(open_app: Callable[..., Page], path: str, view: dict[str, str]) -> None:
    wanted = HAND | view
    first = open_app(f"/{path}?{urlencode(wanted)}")
    if not path:
        expect(first.locator(".spd-strip")).to_be_visible()
    assert {key: values[0] for key, values in parse_qs(urlsplit(first.url).query).items()}.items() >= wanted.items()
    expect(main(first)).to_contain_text("rank 40 of 192 · selected: layer 15 key, direction 7")
    copied = open_app(urlsplit(first.url)._replace(scheme="", netloc="").geturl())
    if not path:
        expect(copied.locator(".spd-strip")).to_be_visible()
    checks = itertools.count(1)

    def alike() -> bool:  # charts and tables come a little later
        if next(checks) % 500 == 0:  # once in many runs the browser never drew buttons of a page that was all sent
            copied.reload()
            settled(copied)
        return shown(copied) == shown(first)

    until(alike, lambda: f"{shown(copied)!r} instead of {shown(first)!r}")
    assert copied.url == first.url


@pytest.mark.parametrize(("link", "said"), [
    ("/spectrum?capture=no-such", "no capture 'no-such' is saved on this machine"),
    ("/attributions?capture=../../etc/passwd", "'../../etc/passwd' is not a name of a saved result"),
    ("/side-by-side?written=no-such", "no result 'no-such' is saved on this machine"),
])  # fmt: skip
def test_unknown_ids_in_a_link_are_sentences_and_the_page_stays_usable(
    open_app: Callable[..., Page], link: str, said: str
) -> None:
    page = open_app(link)
    expect(main(page)).to_contain_text(said)
    expect(main(page)).to_contain_text("arithmetic on SmolLM2-135M-Instruct")
    go_to(page, "Spectrum")
    expect(page.get_by_role("figure")).to_have_count(1)


def test_too_long_a_prompt_is_a_sentence_and_the_page_stays_usable(open_app: Callable[..., Page]) -> None:
    page = open_app("/side-by-side?new_tokens=5")
    page.get_by_role("textbox", name="Prompt").fill("one two three four " * 2200)
    page.get_by_role("textbox", name="Prompt").press("Control+Enter")
    expect(main(page)).to_contain_text("and the model's context of 8192 leaves 8187")
    settled(page)
    page.get_by_role("textbox", name="Prompt").fill("What is 1 + 1?")
    page.get_by_role("textbox", name="Prompt").press("Control+Enter")
    expect(main(page).get_by_text(FINISHED)).to_have_count(2)


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
    # An invisible word joiner keeps the browser from making a link of an address.
    literal = re.compile(re.escape(evil).replace("http:", "http:\u2060?"))
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
    for name in PAGES[1:]:
        go_to(page, name)
        if name not in ("Fine-tune", "Evaluation"):  # they show runs, and not the capture in hand
            expect(main(page)).to_contain_text(literal)
        expect(main(page).locator(HARM)).to_have_count(0)
    go_to(page, "Side by side")
    generate(page)
    go_to(page, "Home")
    expect(main(page)).to_contain_text(literal)
    expect(main(page).locator(HARM)).to_have_count(0)
    expect(main(page)).to_contain_text("One example appears here")  # all of the page is drawn, the field for files too
    file.write_text(json.dumps({"prompt": evil}) + "\n")
    page.locator('input[type="file"]').set_input_files(file)
    expect(main(page).get_by_role("alert")).to_contain_text("evil.jsonl, line 1: answer: Field required")


def test_axe_and_a_phone(open_app: Callable[..., Page]) -> None:
    page = open_app("/?layers=0,1,2,3,29", color_scheme="light")
    for state in ("empty", "full"):
        for name in PAGES:
            go_to(page, name)
            if state == "full" and name == "Home":
                capture(page)
            if state == "full" and name == "Side by side":
                generate(page, lanes=3)  # those of the recorded result, which the form was filled with
            if state == "full" and name == "Spectrum":
                expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
            accessible(page, f"{name}, {state}")
            for tab in ("Overlap", "Gradient rows") if name == "Spectrum" else ():
                main(page).get_by_role("tab", name=tab).click()
                expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
                accessible(page, f"{tab}, {state}")
