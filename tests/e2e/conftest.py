"""A real server and a real browser: the one that `SPD_CHROMIUM` names, else chromium on the path, else Playwright's."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from tests.browser import find_chromium
from tests.e2e.server import ROOT, Server, own_server, wait_until_healthy
from tests.e2e.steps import session, settled
from tests.waiting import LONG


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Chromium without a GPU; without its sandbox for root, who may not have one."""
    found = find_chromium()
    args = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return {**browser_type_launch_args, "args": args, **({"executable_path": found} if found else {})}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says what the pages showed."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("browser")
    if report.when == "call" and report.failed and browser:
        with suppress(Error):
            for page in (page for context in browser.contexts for page in context.pages):
                report.sections.append((f"Shown at {page.url}", page.inner_text("body")))
    return report


@pytest.fixture(scope="session")
def base_url(spd_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app on a free port, started from elsewhere than the repository; its log must stay clean."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Converted before the browser waits for it: on a busy machine the conversion takes longer than any page should.
    convert = "from spd_core.models.builtin import builtin_model; builtin_model()"
    subprocess.run([sys.executable, "-c", convert], cwd=ROOT, check=True)
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), "--server.port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(f"{url}/_stcore/health", server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        code = server.wait(LONG)
    text = (folder / "log").read_text()
    assert code == 1, text
    assert text.rstrip().endswith("Aborted!"), text  # what `streamlit run` says after Ctrl+C
    for word in ("Traceback", "deprecat", "warning", "not exist anymore"):
        assert word not in text.lower().replace("traceback", "Traceback"), text


@pytest.fixture
def open_app(browser: Browser, base_url: str) -> Any:
    """Opens the app in a session of its own; no page may ask for anything outside this machine."""
    contexts: list[BrowserContext] = []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = session(browser, **options)
        contexts.append(context)
        context.on("request", lambda request: outside.append(request.url) if _is_outside(request.url) else None)
        page = context.new_page()
        page.goto(base_url + path)
        settled(page)
        return page

    outside: list[str] = []
    yield open_page
    for context in contexts:
        for page in context.pages:
            expect(page.get_by_test_id("stException")).to_have_count(0)
        context.close()
    assert outside == []


def _is_outside(url: str) -> bool:
    return not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", url)


@pytest.fixture(scope="module")
def server(spd_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this file's own, whose home holds nothing but the model; it can be killed."""
    running = own_server(spd_home, tmp_path_factory.mktemp("home"))
    yield running
    running.end()


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens pages of that server, each in a browser session of its own."""
    contexts: list[BrowserContext] = []

    def open_page(path: str, **options: Any) -> Page:
        context = session(browser, **options)
        contexts.append(context)
        page = context.new_page()
        page.goto(server.url + path)
        settled(page)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            expect(page.get_by_test_id("stException")).to_have_count(0)
        context.close()
