"""Evaluation in a browser on the built-in model: a preset, a closed tab, every cell, an item opened in Side by side."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.server import Server
from tests.e2e.steps import FINISHED, accessible, button, main, settled

pytestmark = pytest.mark.builtin
ITEMS = 12
SUBJECTS = {"base": "Base", "projected": "Projected", "projected-random": "Projected, random subspace"}


def turn_to(page: Page, part: str) -> None:
    main(page).get_by_role("radio", name=part, exact=True).click()
    settled(page)


def counted_on_disk(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The items of every cell of the run, by subject, read without the engine."""
    found = {}
    for name in SUBJECTS:
        cell = json.loads((folder / "cells" / f"{name}--42--arithmetic.json").read_text())
        (store,) = (
            about.parent
            for about in (folder.parents[1] / "evaluations").glob("*/about.json")
            if json.loads(about.read_text()) == cell["about"]
        )
        lines = (store / "items.jsonl").read_text().splitlines()
        by_key = {hashlib.sha256(line.encode()).hexdigest()[:16]: json.loads(line) for line in lines}
        found[name] = [by_key[key] for key in cell["items"]]
    return found


def test_the_page_shows_the_run_cell_by_cell(server: Server, visit: Callable[..., Page]) -> None:
    page = visit("/evaluation")
    expect(main(page)).to_contain_text("Quick look")
    field = page.get_by_role("spinbutton", name="Items of arithmetic")
    field.fill(str(ITEMS))
    field.press("Enter")
    settled(page)
    expect(main(page)).to_contain_text("is likely to go unseen")
    accessible(page, "Evaluation, the form")
    button(page, "Start evaluation").click()
    expect(page).to_have_url(re.compile(r"evaluation=\d{8}-\d{6}-arithmetic-"))
    link = page.url.removeprefix(server.url)
    page.context.close()  # it goes on by itself
    page = visit(link)
    expect(main(page).get_by_role("heading", level=4).first).to_contain_text("finished")
    folder = server.home / "runs" / re.findall(r"evaluation=([\w-]+)", link)[0]
    items = counted_on_disk(folder)
    _claims(page, items)
    _every_cell(page, items)
    turn_to(page, "Differences")
    expect(main(page)).to_contain_text("All differences at a glance")
    for part in ("Answers", "Export"):
        turn_to(page, part)
        expect(main(page)).to_contain_text("How to read this" if part == "Answers" else "The same table in a terminal")
    for part in ("Claims", "Table", "Differences", "Items"):
        turn_to(page, part)
        accessible(page, f"Evaluation, {part}")
    _an_item_in_side_by_side(page, items)


def _claims(page: Page, items: dict[str, list[dict[str, Any]]]) -> None:
    turn_to(page, "Claims")
    cards = main(page).get_by_role("article")
    expect(cards).to_have_count(2)
    for name in ("projected", "projected-random"):
        pairs = list(zip(items["base"], items[name], strict=True))
        gained = sum(not before["correct"] and after["correct"] for before, after in pairs)
        lost = sum(before["correct"] and not after["correct"] for before, after in pairs)
        effect = 100 * (gained - lost) / ITEMS
        card = (
            cards.filter(has_text=f"{SUBJECTS[name]} ")
            .filter(has_text=f"n = {ITEMS}")
            .nth(0 if name == "projected" else -1)
        )
        expect(card).to_contain_text(re.compile("helps|hurts|not shown"))
        expect(card).to_contain_text(f"{effect:+.1f}".replace("-", "−") if effect else "0.0")


def _every_cell(page: Page, items: dict[str, list[dict[str, Any]]]) -> None:
    turn_to(page, "Table")
    main(page).get_by_text("As a table", exact=True).click()
    table = main(page).get_by_role("table").first
    expect(table).to_be_visible()
    for name, title in SUBJECTS.items():
        right = sum(item["correct"] for item in items[name])
        row = table.get_by_role("row").filter(has=page.get_by_role("cell", name=title, exact=True))
        expect(row).to_contain_text(f"{100 * right / ITEMS:.1f} %")


def _an_item_in_side_by_side(page: Page, items: dict[str, list[dict[str, Any]]]) -> None:
    turn_to(page, "Items")
    table = main(page).get_by_test_id("stDataFrame")
    expect(table).to_be_visible()
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 18, box["y"] + 38 + 17)  # the first row's box: the grid is drawn, not made of elements
    settled(page)
    expect(main(page)).to_contain_text("What the model read")
    shown = items["projected"][0]
    expect(main(page)).to_contain_text(shown["prompt"].splitlines()[0])
    button(page, "Open in Side by side").click()
    expect(page).to_have_url(re.compile("/side-by-side"))
    settled(page)
    expect(main(page)).to_contain_text("2 lanes")
    button(page, "Generate").click()
    expect(main(page).get_by_text(FINISHED)).to_have_count(2)
    for name in ("base", "projected"):  # greedy: letter for letter what was scored
        text = items[name][0]["completion"].strip().splitlines()[0]
        expect(main(page)).to_contain_text(text)
