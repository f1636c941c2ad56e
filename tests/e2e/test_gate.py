"""A server with a token, and its policy, as a browser meets them; and one that does not start without a token."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import ROOT
from tests.e2e.server import Server

pytestmark = pytest.mark.browser
TOKEN = "a-token-of-a-class"


@pytest.fixture
def signed_in(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page of a browser that has typed the token; the server's log never has it."""
    monkeypatch.setenv("SPD_TOKEN", TOKEN)
    server = Server(tmp_path)
    page = browser.new_page(base_url=server.url)
    page.goto("/spectrum")
    page.get_by_label("The token of this server").fill("not the token of it")
    page.get_by_role("button", name="Open the lab").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    page.get_by_label("The token of this server").fill(TOKEN)
    page.get_by_role("button", name="Open the lab").click()
    yield page
    page.context.close()
    server.end()
    assert TOKEN not in server.log.read_text()


def test_the_token_opens_all_pages_and_none_does_what_the_policy_forbids(signed_in: Page) -> None:
    page, refused = signed_in, []
    page.on("console", lambda said: refused.append(said.text) if "Content Security" in said.text else None)
    for path, drawn in (
        ("/", ".spd-method"),
        ("/how-it-works?step=4&present=1", ".stage"),
        ("/spectrum", ".js-plotly-plot"),
        ("/attributions", ".tk"),
        ("/attributions?view=Geometry", ".stage"),
        ("/side-by-side", ".spd-text"),
        ("/fine-tune", ".js-plotly-plot"),
        ("/evaluation", ".js-plotly-plot"),
    ):
        page.goto(path)
        expect(page.locator(drawn).first).to_be_visible()
        assert TOKEN not in page.url
    assert refused == []
    page.evaluate(_INJECT)
    expect(page.locator("#told")).to_have_text("after")
    assert page.evaluate("window.ran") is None
    assert len(refused) == 2, "the script and the handler"


_INJECT = """() => {
  document.head.append(Object.assign(document.createElement("script"), {textContent: "window.ran = 1"}));
  document.body.insertAdjacentHTML("beforeend", '<p id="told"></p><img src="data:," onerror="window.ran = 2">');
  document.body.lastElementChild.addEventListener("error", () => { told.textContent = "after"; });
}"""


def test_a_server_that_others_would_reach_does_not_start_without_a_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), "--server.address", "0.0.0.0"]
    known = {name: value for name, value in os.environ.items() if name != "SPD_TOKEN"}
    ended = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "SPD Lab does not start: 0.0.0.0 can be reached from other machines" in ended.stderr
    assert "set SPD_TOKEN" in ended.stderr
