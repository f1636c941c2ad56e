"""A class at one server (`SPD_MODE=classroom`): how long each waits for its text, whether every text is right, memory.

python -m benchmarks.classroom --browsers 30 --rounds 3

Every browser writes a prompt of its own on Side by side, all at once, round after round. Afterwards one browser writes
the same prompts alone: a text is right if its token ids are the same. Waiting is from the press to the saved text; it
holds the time of all who came before, and of the browsers themselves, which share the machine's cores with the server.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import typer

from benchmarks.machine import describe
from benchmarks.startup import IDLE, ROOT, free_port
from tests.browser import find_chromium

_LONGEST = 1800.0
"""Seconds after which a text that was asked for will not come."""
_MIB = 2**20


class Class:
    """A server for a class in a home of its own, and the texts that lie on its shelves."""

    def __init__(self, home: Path) -> None:
        from spd_core.models.builtin import builtin_model

        (home / "models").symlink_to(builtin_model().parent)
        self.home, port = home, free_port()
        command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
        self.url, self.log = f"http://127.0.0.1:{port}", home / "server.log"
        with self.log.open("wb") as log:
            environment = {**os.environ, "SPD_HOME": str(home), "SPD_MODE": "classroom"}
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def texts(self) -> dict[Path, float]:
        """Every saved text, with the second it was saved in."""
        found = (self.home / "classroom").glob("*/texts/*.json")
        return {path: path.stat().st_mtime for path in found if not path.name.startswith(".")}

    def memory(self) -> float:
        """MiB that the server's process has to itself."""
        return float(psutil.Process(self.process.pid).memory_full_info().uss) / _MIB


def prompt_of(number: int) -> str:
    """A prompt that no other browser writes."""
    return f"Question: What is {number + 11} + {2 * number + 3}?\nAnswer:"


def open_page(browser: Any, url: str, tokens: int) -> Any:
    """Side by side in a browser session of its own."""
    page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    page.goto(f"{url}/side-by-side?new_tokens={tokens}", timeout=1000 * _LONGEST)
    page.get_by_role("button", name="Generate").wait_for(timeout=1000 * _LONGEST)
    page.wait_for_selector(IDLE, timeout=1000 * _LONGEST)
    return page


def fill(page: Any, prompt: str) -> None:
    """Write a prompt into the form."""
    field = page.get_by_role("textbox", name="Prompt")
    field.fill(prompt)
    field.blur()
    page.wait_for_selector(IDLE, timeout=1000 * _LONGEST)


def one_round(room: Class, pages: Sequence[Any]) -> list[float]:
    """All press Generate one after the other, as fast as a script can; seconds that each waited for its text."""
    before = set(room.texts())
    pressed = []
    for page in pages:
        page.get_by_role("button", name="Generate").click(timeout=1000 * _LONGEST)
        pressed.append(time.time())
    deadline = time.monotonic() + _LONGEST
    while len(new := {path: at for path, at in room.texts().items() if path not in before}) < len(pages):
        if time.monotonic() > deadline or room.process.poll() is not None:
            raise SystemExit(f"{len(new)} of {len(pages)} texts came; see the server's log: {room.log.read_text()}")
        time.sleep(0.2)
    numbers = {prompt_of(number): number for number in range(len(pages))}
    waited = [0.0] * len(pages)
    for path, at in new.items():
        number = numbers[json.loads(path.read_text())["prompt"]]
        waited[number] = at - pressed[number]
    for page in pages:
        page.get_by_role("button", name="Stop generating").wait_for(state="detached", timeout=1000 * _LONGEST)
    return waited


def tokens_in(path: Path) -> tuple[str, list[list[int]]]:
    """The prompt of a saved text, and the token ids of its lanes."""
    text = json.loads(path.read_text())
    return text["prompt"], [[token["id"] for token in lane["tokens"]] for lane in text["lanes"]]


def main(browsers: int = 30, rounds: int = 3, tokens: int = 24) -> None:
    """Print the waiting times, how many texts are right, and the server's memory."""
    from playwright.sync_api import sync_playwright

    print(describe())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, sync_playwright() as playwright:
        room = Class(Path(home))
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            _class(room, chromium, browsers, rounds, tokens)
        finally:
            chromium.close()
            room.process.terminate()
            room.process.wait()
        print("tracebacks in the server's log:", room.log.read_text().count("Traceback"))


def _class(room: Class, chromium: Any, browsers: int, rounds: int, tokens: int) -> None:
    while True:
        try:
            pages = [open_page(chromium, room.url, tokens)]
            break
        except Exception:  # it has not started so far
            if room.process.poll() is not None:
                raise
            time.sleep(0.5)
    pages += [open_page(chromium, room.url, tokens) for _ in range(browsers - 1)]
    for number, page in enumerate(pages):
        fill(page, prompt_of(number))
    print(f"{browsers} browsers have Side by side open: the server has {room.memory():,.0f} MiB")
    for number in range(rounds):
        waited = sorted(one_round(room, pages))
        print(
            f"round {number + 1}: waited {statistics.median(waited):.1f} s (median), {waited[-1]:.1f} s (longest), "
            f"{waited[0]:.1f} s (shortest); the server has {room.memory():,.0f} MiB"
        )
    written = [tokens_in(path) for path in room.texts()]
    before = set(room.texts())
    alone = open_page(chromium, room.url, tokens)
    for page in pages:
        page.context.close()
    took = []
    for number in range(browsers):
        fill(alone, prompt_of(number))
        count, start = len(room.texts()), time.time()
        alone.get_by_role("button", name="Generate").click()
        while len(room.texts()) == count:
            time.sleep(0.1)
        took.append(time.time() - start)
        alone.get_by_role("button", name="Stop generating").wait_for(state="detached", timeout=1000 * _LONGEST)
    expected = dict(tokens_in(path) for path in room.texts() if path not in before)
    right = sum(expected.get(prompt) == found for prompt, found in written)
    print(f"alone: {statistics.median(took):.1f} s (median)")
    print(f"texts that are as when written alone: {right} of {len(written)}")


if __name__ == "__main__":
    typer.run(main)
