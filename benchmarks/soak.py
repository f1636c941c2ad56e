"""Uses the app for a long time, in many tabs at once, and looks whether it grows, fails, or writes something else.

python -m benchmarks.soak [--loads 200] [--generations 500] [--tabs 10] [--minutes 30] [--seeds 5]

One tab alone first writes a text for each seed; then all tabs open pages and write in turns, until there were that many
loads and generations and the minutes are over. Every text must equal, token by token, the one of its seed that was
written alone; the server's log must hold no traceback; and its memory, once every tab has opened every page and
written twice, may grow by 5 %. Needs the built-in model and a Chromium.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import typer

from tests.browser import find_chromium
from tests.e2e.server import Server
from tests.e2e.steps import button, main, session, settled
from tests.waiting import until

PAGES = ("", "lesson", "spectrum", "attributions", "side-by-side", "fine-tune", "evaluation", "library")
GROWTH, TOKENS = 0.05, 8


@dataclass
class Soak:
    """What has happened so far.

    Attributes:
        memory: MiB of the server and its children after each round, with the seconds since the start.
    """

    server: Server
    loads: int = 0
    asked: int = 0
    began: float = field(default_factory=time.monotonic)
    memory: list[tuple[float, float]] = field(default_factory=list)

    def open(self, tab: Any, page: str) -> None:
        """Open a page of the app anew."""
        tab.goto(f"{self.server.url}/{page}")
        main(tab).locator("h1").first.wait_for()
        settled(tab)
        self.loads += 1

    def ask(self, tab: Any, seed: int) -> None:
        """On Side by side: have a text written with a seed; it is not waited for."""
        self.open(tab, f"side-by-side?new_tokens={TOKENS}&seed={seed}")
        button(tab, "Generate").click()
        self.asked += 1

    def wait(self) -> None:
        """Until all that was asked for is saved."""
        folder = self.server.home / "texts"
        until(lambda: len(list(folder.glob("[!.]*.json"))) >= self.asked, lambda: f"{self.asked} texts were asked for")

    def measure(self) -> float:
        """Memory of the server now, in MiB."""
        process = psutil.Process(self.server.process.pid)
        used = sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20
        self.memory.append((time.monotonic() - self.began, used))
        return used


def soak(loads: int = 200, generations: int = 500, tabs: int = 10, minutes: float = 30, seeds: int = 5) -> None:
    """Print what was done and what came of it; end with 1 when something was wrong."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        server = _server(Path(place))
        chromium = playwright.chromium.launch(executable_path=find_chromium() or None, args=["--no-sandbox"])
        found = Soak(server)
        try:
            first = session(chromium).new_page()
            for seed in range(seeds):
                found.ask(first, seed)
                found.wait()
            alone = _texts(server.home)
            others = [session(chromium).new_page() for _ in range(tabs - 1)]
            before, last = _rounds(found, [first, *others], loads, generations, minutes, seeds)
            said = _wrong(found, alone, before, last)
        finally:
            chromium.close()
            server.kill()
    print(f"| page loads, generations, tabs | {found.loads}, {found.asked}, {tabs} |")
    print(f"| minutes | {(time.monotonic() - found.began) / 60:.1f} |")
    print(f"| memory after the warm-up, and at the end | {before:.0f} MiB, {last:.0f} MiB ({last / before - 1:+.1%}) |")
    print(f"| wrong | {'; '.join(said) or 'nothing'} |")
    raise typer.Exit(int(bool(said)))


def _server(home: Path) -> Server:
    """A server whose home has the converted model alone: that of `SPD_HOME`, where there is one."""
    convert = "from spd_core.models.builtin import builtin_model; builtin_model()"
    subprocess.run([sys.executable, "-c", convert], check=True)
    own = Path(os.environ.get("SPD_HOME") or Path.home() / ".spd-lab").expanduser()
    (home / "models").symlink_to(own / "models")
    return Server(home)


def _rounds(
    found: Soak, tabs: list[Any], loads: int, generations: int, minutes: float, seeds: int
) -> tuple[float, float]:
    """Memory after the warm-up and at the end: the median of the last five rounds."""
    number, warm = 0, 0.0
    while found.loads < loads or found.asked < generations or time.monotonic() - found.began < 60 * minutes:
        if number < 1 or found.loads < loads:
            for at, tab in enumerate(tabs):
                for page in PAGES if number < 1 else (PAGES[(number + at) % len(PAGES)],):
                    found.open(tab, page)
        for at, tab in enumerate(tabs):
            found.ask(tab, (number + at) % seeds)
        found.wait()
        used = found.measure()
        number += 1
        warm = used if number <= 2 else warm
        print(f"round {number}: {found.loads} loads, {found.asked} texts, {used:.0f} MiB", file=sys.stderr, flush=True)
    return warm, statistics.median(used for _, used in found.memory[-5:])


def _texts(home: Path) -> dict[int, str]:
    """What was written, by its seed; of several with one seed the last that was read."""
    return dict(_every(home))


def _every(home: Path) -> list[tuple[int, str]]:
    every = [json.loads(path.read_text("utf-8")) for path in sorted((home / "texts").glob("[!.]*.json"))]
    return [
        (one["sampling"]["seed"], json.dumps([[token["id"] for token in lane["tokens"]] for lane in one["lanes"]]))
        for one in every
    ]


def _wrong(found: Soak, alone: dict[int, str], before: float, last: float) -> list[str]:
    other = [seed for seed, text in _every(found.server.home) if text != alone[seed]]
    traces = len(re.findall("traceback", found.server.log.read_text("utf-8", "replace"), re.IGNORECASE))
    return [
        *([f"{len(other)} of {found.asked} texts differ from the one of their seed"] if other else []),
        *([f"{traces} tracebacks in the log"] if traces else []),
        *([f"memory grew by {last / before - 1:.1%}, more than {GROWTH:.0%}"] if last > (1 + GROWTH) * before else []),
    ]


if __name__ == "__main__":
    typer.run(soak)
