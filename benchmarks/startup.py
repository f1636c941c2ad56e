"""Seconds to the app's first paint, and of the first-use conversion of the built-in model.

python -m benchmarks.startup
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import typer

from benchmarks.machine import describe, report
from tests.browser import find_chromium

ROOT = Path(__file__).resolve().parents[1]


def first_paint(rounds: int) -> float:
    """Median seconds from asking for the page to its first heading, on a server that was just started."""
    from playwright.sync_api import sync_playwright

    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        warm = browser.new_page()  # the browser's own start is not the app's
        warm.goto("about:blank")
        for _ in range(rounds):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
            server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
                page = browser.new_page()
                start = time.perf_counter()
                page.goto(f"http://127.0.0.1:{port}")
                page.locator('[data-testid="stMain"] h1, [data-testid="stMain"] h2').first.wait_for(timeout=60_000)
                taken.append(time.perf_counter() - start)
                page.close()
            finally:
                server.terminate()
                server.wait()
        browser.close()
    return sorted(taken)[rounds // 2]


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
        code = "from spd_core.builtin import builtin_model; builtin_model()"
        start = time.perf_counter()
        environment = {**os.environ, "SPD_HOME": home}
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True)
        return time.perf_counter() - start


def main(rounds: int = 5) -> None:
    """Print the seconds."""
    print(describe(), "\n")
    print("| measure | seconds | target | met |\n|---|---|---|---|")
    paint = first_paint(rounds)
    report("first paint of the app", paint, "≤ 2 s", paint <= 2, "s")
    seconds = conversion()
    report("first-use conversion", seconds, "≤ 20 s", seconds <= 20, "s")


if __name__ == "__main__":
    typer.run(main)
