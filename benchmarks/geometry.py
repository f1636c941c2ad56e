"""Geometry with 20,000 points: what is sent to the browser and how long it takes to make, beside plotly's figure of the
same points; and seconds a frame while the picture turns, beside 200 points and beside plotly's.

python -m benchmarks.geometry
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly

from app.attributions.geometry import MOST_POINTS
from app.attributions.geometry_charts import cloud_figure
from app.attributions.grouping import CLASS, grouped
from app.ui import point_cloud
from app.ui.point_cloud import Axis, cloud_data
from benchmarks.machine import describe, ratios, report
from spd_core.attribution.geometry import GRADIENTS, OUTSIDE, points_of
from spd_core.attribution.geometry_verdict import separation
from spd_core.attribution.tables import tokens_of
from spd_core.subspace.store import open_capture
from spd_core.templates import FOLDER
from tests.browser import find_chromium

TURNS = 60
_HERE = Path(point_cloud.__file__).parent
_AXES = [Axis("first", "u1"), Axis("the rest", "outside"), Axis("second", "u2")]


def cloud(count: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Makes the data of the page's picture of so many tokens, and plotly's figure; a recorded capture, repeated."""
    analysis = open_capture("python-functions")
    site = analysis.site(29, "value")
    kept = analysis.sites[site].coordinates
    assert kept is not None
    assert kept.lengths is not None
    times = -(-count // len(kept.product))
    many = dataclasses.replace(
        kept,
        gradient=np.tile(kept.gradient, (times, 1)),
        lengths=np.tile(kept.lengths, (1, times)),
    )
    found = dataclasses.replace(analysis.sites[site], coordinates=many)
    examples = analysis.examples * times
    tokens = tokens_of(examples)
    points = points_of(found, GRADIENTS, (0, OUTSIDE, 1), 16)
    whole = dataclasses.replace(analysis, examples=examples)
    rows = np.arange(len(tokens))[:count]

    def data() -> Any:
        groups = grouped(CLASS, tokens, whole, np.ones(len(tokens)), 0)
        return cloud_data(points, _AXES, rows, groups, examples, unit="", selected=3, strength=0.3, label="points")

    def figure() -> Any:
        groups = grouped(CLASS, tokens, whole, np.ones(len(tokens)), 0)
        said = [f"{text}, text {at}" for text, at in zip(tokens.text, tokens.example, strict=True)]
        return cloud_figure(points, _AXES, rows, groups, said, unit="", strength=0.3)

    groups = grouped(CLASS, tokens, whole, np.ones(len(tokens)), 0)
    started = time.perf_counter()
    separation(points.values[rows], groups.of[rows], tokens.example.to_numpy()[rows])
    print(f"{count:,} points: the sentence on them takes {time.perf_counter() - started:.2f} s", flush=True)
    return data, figure


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


_TURN_OURS = """async (turns) => {
  const front = document.querySelector(".front"), taken = [];
  for (let i = 0; i < turns; i++) {
    const start = performance.now();
    front.onkeydown({key: "ArrowLeft", preventDefault() {}});
    await new Promise(requestAnimationFrame);
    const canvas = document.querySelector(".points");  // wait until it has been painted
    canvas.getContext("webgl")?.readPixels(0, 0, 1, 1, 6408, 5121, new Uint8Array(4));
    taken.push(performance.now() - start);
  }
  return [taken, document.querySelector(".stage").dataset.webgl];
}"""
_TURN_PLOTLY = """async (turns) => {
  const plot = document.querySelector(".js-plotly-plot"), taken = [];
  for (let i = 0; i < turns; i++) {
    const start = performance.now(), at = i / 20;
    await Plotly.relayout(plot, {"scene.camera.eye": {x: 2 * Math.cos(at), y: 2 * Math.sin(at), z: 1}});
    await new Promise(requestAnimationFrame);
    plot._fullLayout.scene._scene.glplot.gl.readPixels(0, 0, 1, 1, 6408, 5121, new Uint8Array(4));
    taken.push(performance.now() - start);
  }
  return [taken, "true"];
}"""


def page_of(data: Any) -> str:
    """The component by itself in a page."""
    script = "\n".join((_HERE / name).read_text("utf-8") for name in ("point_cloud_paint.js", "point_cloud.js"))
    script = script.replace("export default function", "const drawCloud = function")
    css, html = (_HERE / "point_cloud.css").read_text("utf-8"), (FOLDER / "point_cloud.html").read_text("utf-8")
    given = json.dumps(data).replace("<", "\\u003c")
    start = f"drawCloud({{data: {given}, parentElement: document, setTriggerValue() {{}}, setStateValue() {{}}}});"
    return f"<style>{css}</style>{html}<script type=module>{script}\n{start}</script>"


def frame_seconds(browser: Any, html: str, turn: str) -> float:
    """Median seconds from asking for another view of a page's picture until it has been painted."""
    page = browser.new_page(viewport={"width": 1206, "height": 700})
    page.set_content(html)
    page.wait_for_timeout(2000)
    taken, webgl = page.evaluate(turn, TURNS)
    assert webgl == "true", "this browser has no WebGL"
    page.close()
    return float(statistics.median(taken)) / 1000


def main() -> None:
    from playwright.sync_api import sync_playwright

    print(describe())
    data, figure = cloud(MOST_POINTS)
    few, _ = cloud(200)
    sent, drawn = len(json.dumps(data())), len(figure().to_json())
    made = ratios(
        {"plotly": lambda: timed(lambda: figure().to_json()), "own": lambda: timed(lambda: json.dumps(data()))}
    )
    print("| measure | value | target | met |\n|---|---|---|---|")
    report("bytes to the browser ÷ plotly's figure at one strength", sent / drawn, "≤ 1.50", sent <= 1.5 * drawn)
    report("seconds to make ÷ plotly's figure", made["own"], "≤ 1.00", made["own"] <= 1)
    print(f"{sent / 1e6:.2f} MB for {MOST_POINTS:,} points, plotly {drawn / 1e6:.2f} MB", flush=True)
    plot = f"<script>{(Path(plotly.__file__).parent / 'package_data/plotly.min.js').read_text('utf-8')}</script>"
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        own = frame_seconds(browser, page_of(data()), _TURN_OURS)
        small = frame_seconds(browser, page_of(few()), _TURN_OURS)
        theirs = frame_seconds(browser, plot + figure().to_html(include_plotlyjs=False), _TURN_PLOTLY)
        browser.close()
    report(f"a frame of {MOST_POINTS:,} points ÷ 200 points", own / small, "≤ 3.00", own <= 3 * small)
    report("a frame ÷ plotly's", own / theirs, "≤ 1.00", own <= theirs)
    print(f"{own * 1000:.0f} ms a frame, 200 points {small * 1000:.0f} ms, plotly {theirs * 1000:.0f} ms; no GPU here")


if __name__ == "__main__":
    main()
