"""A reload while text is written: it goes on, is shown again, and is announced on other pages."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect
from streamlit.proto.BackMsg_pb2 import BackMsg

from tests.e2e.steps import button, go_to, main, session, settled
from tests.e2e.test_app import STOPPED
from tests.waiting import until

pytestmark = pytest.mark.builtin


def test_a_reload_keeps_what_is_written(open_app: Callable[..., Page]) -> None:
    page = open_app("/side-by-side?choice=greedy&new_tokens=2000&show=text+alone")
    page.get_by_role("textbox", name="Prompt").fill("Repeat the word yes for ever: yes yes yes yes yes yes yes yes")
    page.keyboard.press("Tab")
    settled(page)
    button(page, "Generate").click()
    expect(main(page)).to_contain_text("writing… · ")
    page.reload()
    expect(main(page)).to_contain_text("writing… · ")
    go_to(page, "Spectrum")
    expect(main(page)).to_contain_text("Writing lanes")
    main(page).get_by_role("button", name="Open").click()
    button(page, "Stop generating").click()
    expect(main(page).get_by_text(STOPPED).first).to_be_visible()


def test_a_fragment_of_a_page_that_was_left_changes_nothing(browser: Browser, base_url: str) -> None:
    """What a fragment asked for just before its page was left comes late: the page that is open stays as it is.

    It was met by chance, in two of five tries; here its message is sent again.
    """
    sent: list[bytes] = []
    servers: list[WebSocketRoute] = []

    def between(browsers: WebSocketRoute) -> None:
        server = browsers.connect_to_server()
        servers.append(server)

        def pass_on(message: str | bytes) -> None:
            sent.append(message if isinstance(message, bytes) else message.encode())
            server.send(message)

        browsers.on_message(pass_on)

    context = session(browser)
    page = context.new_page()
    page.route_web_socket("**/_stcore/stream", between)
    page.goto(f"{base_url}/side-by-side?choice=greedy&new_tokens=2000&show=text+alone")
    page.get_by_role("textbox", name="Prompt").fill("Repeat the word yes for ever: yes yes yes yes yes yes yes yes")
    page.keyboard.press("Tab")
    settled(page)
    button(page, "Generate").click()
    expect(main(page)).to_contain_text("writing… · ")
    go_to(page, "Spectrum")
    expect(main(page)).to_contain_text("Writing lanes")
    sent.clear()
    late = _next_tick(page, sent)
    go_to(page, "Side by side")
    for _ in range(5):
        servers[-1].send(late)
        page.wait_for_timeout(500)
    button(page, "Stop generating").click()
    expect(main(page).get_by_text(STOPPED).first).to_be_visible()
    context.close()


def _next_tick(page: Page, sent: list[bytes]) -> bytes:
    """The next message by which a fragment asks to be drawn again."""
    found: list[bytes] = []

    def look() -> bool:
        page.wait_for_timeout(100)
        found.extend(filter(_is_tick, sent))
        return bool(found)

    until(look)
    return found[0]


def _is_tick(message: bytes) -> bool:
    asked = BackMsg.FromString(message).rerun_script
    return bool(asked.is_auto_rerun and asked.fragment_id)
