"""Seconds to the app's first paint, of opening each page on recorded results, of changing pages (also while a run of
Fine-tune trains), to the first word of Side by side, and of the first-use conversion of the built-in model.

python -m benchmarks.startup

A page counts as open when everything is drawn and the browser has nothing left to do. That is read from the browser's
own records afterwards: one that is looked at while it loads needs half a second longer for plotly alone, since V8 then
collects the source positions of its 4.7 MB.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from benchmarks.machine import describe, report
from tests.browser import find_chromium

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"": "SPD Lab", "spectrum": "Spectrum", "attributions": "Token attributions", "side-by-side": "Side by side",
         "fine-tune": "Fine-tune"}  # fmt: skip
HEADING = '[data-testid="stMain"] h1'
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def server() -> Iterator[str]:
    """A server that was just started; its address."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def first_paint(browser: Any, rounds: int) -> float:
    """Median seconds from asking a new server for the app to the heading of its first page."""
    taken = []
    for _ in range(rounds):
        with server() as url:
            page = browser.new_page()
            start = time.perf_counter()
            page.goto(url)
            page.locator(HEADING).first.wait_for(timeout=60_000)
            taken.append(time.perf_counter() - start)
            page.close()
    return sorted(taken)[rounds // 2]


def opening(playwright: Any, path: str, rounds: int) -> float:
    """Median seconds from asking a new server for a page until a new browser has drawn it and is idle for a second."""
    taken = []
    for _ in range(rounds):
        with _browser_alone() as door, server() as url:
            urllib.request.urlopen(urllib.request.Request(f"{door}/json/new?{url}/{path}", method="PUT"))
            time.sleep(_SETTLED)
            browser = playwright.chromium.connect_over_cdp(door)
            page = next(page for page in browser.contexts[0].pages if page.url.startswith(url))
            page.wait_for_selector(IDLE)
            page.wait_for_selector('[data-testid="stSkeleton"]', state="detached")
            taken.append(page.evaluate(_QUIET) / 1000)
            browser.close()
    return sorted(taken)[rounds // 2]


_SETTLED = 8.0
"""Seconds after which a page is looked at."""
_QUIET = """() => new Promise((resolve) => {  // ms until the browser first had no long task for a second
    let last = performance.getEntriesByName("first-contentful-paint")[0].startTime;
    new PerformanceObserver((list) => {
        for (const task of list.getEntries())
            if (task.startTime < last + 1000) last = Math.max(last, task.startTime + task.duration);
    }).observe({type: "longtask", buffered: true});
    setTimeout(() => resolve(last), 300);
})"""


@contextmanager
def _browser_alone() -> Iterator[str]:
    """A browser that was never used, has started, and is not looked at; the address at which tabs can be opened."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        port = free_port()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        flags += [f"--remote-debugging-port={port}", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen([find_chromium(), *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/json/version")
            time.sleep(2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def page_changes(browser: Any, rounds: int) -> dict[str, float]:
    """Median seconds from a click in the navigation until the other page's script has run, by page; engine loaded."""
    taken: dict[str, list[float]] = {title: [] for title in PAGES.values()}
    with server() as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector(".spd-strip", timeout=120_000)  # the engine is there
        for _ in range(rounds + 1):
            for title in (*list(PAGES.values())[1:], "SPD Lab"):
                start = time.perf_counter()
                page.get_by_test_id("stTopNavLink").filter(has_text="Home" if title == "SPD Lab" else title).click()
                page.locator(HEADING, has_text=title).wait_for()
                page.wait_for_selector(IDLE)
                page.wait_for_selector('[data-testid="stSkeleton"]', state="detached")
                taken[title].append(time.perf_counter() - start)
        page.close()
    return {title: sorted(seconds[1:])[rounds // 2] for title, seconds in taken.items()}  # the first visit imports


def first_word(browser: Any, rounds: int) -> float:
    """Median seconds from a click on Generate, with a warm model, until a lane on the screen has its first token."""
    taken = []
    with server() as url:
        page = browser.new_page()
        page.goto(f"{url}/side-by-side")
        generate = page.get_by_test_id("stMain").get_by_role("button", name="Generate")
        for _ in range(rounds + 1):
            page.wait_for_selector(IDLE, timeout=300_000)
            generate.wait_for()
            page.evaluate(_LISTEN)
            generate.click()
            taken.append(page.evaluate("window.spdFirst") / 1000)
            page.get_by_text("writing…").first.wait_for(state="detached", timeout=300_000)
        page.close()
    return sorted(taken[1:])[rounds // 2]  # the first one loads the model


_LISTEN = """() => { window.spdFirst = new Promise((resolve) => {  // ms from the click to the first token of a lane
    addEventListener("click", () => {
        const clicked = performance.now(), main = document.querySelector("[data-testid=stMain]");
        const look = () => /writing… · [1-9]/.test(main.innerText) ? resolve(performance.now() - clicked)
            : requestAnimationFrame(look);
        look();
    }, {capture: true, once: true});
}); }"""


@contextmanager
def a_run_that_trains() -> Iterator[None]:
    """In a home of its own, a job that trains the built-in model until the block ends."""
    from spd_core.models.builtin import builtin_model
    from spd_core.recipes.distill import recipe_from
    from spd_core.runs import queue, states
    from spd_core.runs.events import TrainingLoss

    models, before = builtin_model().parent, os.environ.get("SPD_HOME")
    recipe = {"preset": "quick", "capability": "arithmetic", "arms": ["psr"], "drift": False, "train": {"epochs": 100}}
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "models").symlink_to(models)
        os.environ["SPD_HOME"] = home
        run = queue.create(recipe_from(recipe))
        try:
            while not any(isinstance(event, TrainingLoss) for event in run.events().events):
                if states.state_of(run) not in ("starting", "running"):
                    raise RuntimeError(f"the job has ended: {run.log()[-500:]}")
                time.sleep(0.5)
            yield
        finally:
            queue.kill(run)
            os.environ.pop("SPD_HOME")
            if before is not None:
                os.environ["SPD_HOME"] = before


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer")


def conversion() -> float:
    """Seconds of `builtin_model()` in an empty home, imports included."""
    with tempfile.TemporaryDirectory() as home:
        code = "from spd_core.models.builtin import builtin_model; builtin_model()"
        start = time.perf_counter()
        environment = {**os.environ, "SPD_HOME": home}
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True)
        return time.perf_counter() - start


def main(rounds: int = 5) -> None:
    """Print the seconds."""
    from playwright.sync_api import sync_playwright

    print(describe(), "\n")
    print("| measure | seconds | target | met |\n|---|---|---|---|")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        browser.new_page().goto("about:blank")  # the browser's own start is not the app's
        paint = first_paint(browser, rounds)
        report("first paint of the app", paint, "≤ 1.5 s", paint <= 1.5, "s")
        for path, title in PAGES.items():
            whole = opening(playwright, path, rounds)
            report(f"{title} opens on recorded results", whole, "≤ 3 s", whole <= 3, "s")
        for title, seconds in page_changes(browser, rounds).items():
            report(f"change to {title}", seconds, "≤ 0.3 s", seconds <= 0.3, "s")
        word = first_word(browser, rounds)
        report("click on Generate to the first word, two lanes, a warm model", word, "≤ 0.5 s", word <= 0.5, "s")
        with a_run_that_trains():
            busy = page_changes(browser, rounds)
        for title, seconds in busy.items():
            report(f"change to {title} while a run trains", seconds, "≤ 0.5 s", seconds <= 0.5, "s")
        browser.close()
    seconds = conversion()
    report("first-use conversion", seconds, "≤ 20 s", seconds <= 20, "s")


if __name__ == "__main__":
    typer.run(main)
