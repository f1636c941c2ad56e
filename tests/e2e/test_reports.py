"""Reports as a reader has them: taken from a page, opened from disk with the network cut, in either theme, on paper."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from app.reports.page import report_html
from tests.app.reports.test_page import WHOLE
from tests.e2e.steps import RULES, button, go_to, main, settled
from tests.waiting import LONG

pytestmark = pytest.mark.builtin
_WATCH = """
window.refused = [];
addEventListener("securitypolicyviolation", (one) => window.refused.push(`${one.violatedDirective} ${one.sample}`));
"""


class Reader:
    """A browser without a network that opens files, and counts what they ask for and what their policy refuses."""

    def __init__(self, browser: Browser) -> None:
        self.browser, self.asked = browser, list[str]()
        self.troubles: list[str] = []

    def opened(self, path: Path, scheme: str = "light", width: int = 1360, **options: bool) -> Page:
        context = self.browser.new_context(
            offline=True, color_scheme=scheme, viewport={"width": width, "height": 844}, **options  # type: ignore[arg-type]
        )  # fmt: skip
        context.set_default_timeout(1000 * LONG)
        context.add_init_script(_WATCH)
        page = context.new_page()
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.goto(f"file://{path}")
        expect(page.locator("html")).to_have_attribute("data-drawn", "yes")
        return page


@pytest.fixture
def reader(browser: Browser) -> Iterator[Reader]:
    found = Reader(browser)
    yield found
    for context in browser.contexts:
        for page in context.pages:
            if page.url.startswith("file:"):
                assert page.evaluate("window.refused") == []
                page.context.close()
    assert [url for url in found.asked if not re.match(r"file:|data:|blob:", url)] == []
    assert found.troubles == []


def taken(page: Page, name: str, folder: Path) -> Path:
    """The file that a button makes."""
    with page.expect_download() as file:
        button(page, name).click()
    path = folder / file.value.suggested_filename
    file.value.save_as(path)
    return path


def drawn(page: Page) -> int:
    """How many figures there are, all of them drawn."""
    figures = page.locator(".plot")
    expect(page.locator(".plot .main-svg:first-child")).to_have_count(figures.count())
    return figures.count()


def ink(page: Page) -> str | None:
    return page.locator(".plot .main-svg .xtick text").first.evaluate("text => getComputedStyle(text).fill")


def test_a_study_is_read_from_disk(open_app: Callable[..., Page], reader: Reader, tmp_path: Path) -> None:
    app = open_app("/spectrum")
    expect(app.get_by_role("figure")).to_be_visible()
    path = taken(app, "Whole study (HTML)", tmp_path)
    assert path.stat().st_size < 6_000_000

    page = reader.opened(path)
    assert drawn(page) > 10
    expect(page.get_by_role("navigation")).to_contain_text("90% of the energy lies in")
    page.get_by_role("link", name="Evaluation").first.click()
    expect(page.get_by_role("heading", name="Did it help, and was it the subspace?")).to_be_in_viewport()
    strip = page.get_by_role("listbox").nth(1)
    strip.get_by_role("option").first.click()
    page.keyboard.press("ArrowRight")
    expect(strip.locator("xpath=following-sibling::p[1]")).to_contain_text("position 1 ")
    with page.expect_download() as picture:
        plot = page.locator(".plot").first
        plot.hover()
        plot.get_by_role("button", name="Save as SVG").click()
    assert "<svg" in Path(picture.value.path()).read_text()[:200]
    assert picture.value.suggested_filename == "cumulative-energy.svg"

    light = ink(page)
    page.emulate_media(color_scheme="dark")
    expect(page.locator(".plot .main-svg .xtick text").first).not_to_have_css("fill", light or "")
    assert drawn(page) > 10, "they are drawn anew, each once"
    assert light == "rgb(23, 33, 43)"


def test_on_paper_it_is_light_and_no_figure_is_cut(
    open_app: Callable[..., Page], reader: Reader, tmp_path: Path
) -> None:
    path = taken(open_app("/spectrum"), "Report (HTML)", tmp_path)
    page = reader.opened(path, "dark")
    page.emulate_media(media="print")
    expect(page.locator(".plot .main-svg .xtick text").first).to_have_css("fill", "rgb(23, 33, 43)")
    widths = page.locator(".plot").evaluate_all("all => all.map(one => [one.clientWidth, one.scrollWidth])")
    assert all(inside <= width for width, inside in widths)
    assert page.pdf()[:5] == b"%PDF-"
    page.emulate_media(media="screen")
    expect(page.locator(".plot .main-svg .xtick text").first).not_to_have_css("fill", "rgb(23, 33, 43)")


def test_texts_that_would_like_to_act_do_nothing(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_bytes(report_html(WHOLE))
    page = reader.opened(path)
    assert drawn(page) == 1
    page.locator(".plot .nsewdrag").hover()  # it lies over the bar
    expect(page.locator(".plot .hovertext")).to_contain_text("<script>alert('1')</script>")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert('1')</script>")
    assert page.locator("img, iframe, object").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_reports_of_all_pages_can_be_read_by_everybody(
    open_app: Callable[..., Page], reader: Reader, tmp_path: Path, scheme: str
) -> None:
    app = open_app("/attributions", color_scheme=scheme)
    paths = [taken(app, "Report (HTML)", tmp_path)]
    go_to(app, "Side by side")
    paths.append(taken(app, "Report (HTML)", tmp_path))
    go_to(app, "Evaluation")
    expect(main(app)).to_contain_text("Nothing is shown")
    settled(app)
    paths.append(taken(app, "Report (HTML)", tmp_path))
    for path in paths:
        page = reader.opened(path, scheme, 390)
        assert drawn(page) > 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing is wider than a phone"
        checked = reader.opened(path, scheme, bypass_csp=True)  # what looks for mistakes is a script of its own
        found = Axe().run(checked, options=RULES)
        assert found.violations_count == 0, found.generate_report()
