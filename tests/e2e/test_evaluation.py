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
from tests.e2e.steps import FINISHED, accessible, button, grid_is_drawn, main, settled

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
    page = visit("/evaluation?evaluations_view=New+evaluation")
    expect(main(page)).to_contain_text("Quick look")
    field = page.get_by_role("spinbutton", name="Items of arithmetic")
    field.fill(str(ITEMS))
    field.press("Enter")
    settled(page)
    expect(main(page)).to_contain_text(f"with {ITEMS} items, a difference")  # the last that is drawn anew
    settled(page)
    accessible(page, "Evaluation, the form")
    button(page, "Start evaluation").click()
    expect(page).to_have_url(re.compile(r"evaluation=\d{8}-\d{6}-arithmetic-"))
    expect(page.get_by_role("radio", name="This evaluation")).to_be_checked()
    settled(page)  # the link names the run first, and then the part of the page
    link = page.url.removeprefix(server.url)
    page.context.close()  # it goes on by itself
    page = visit(link)
    expect(main(page).get_by_role("heading", level=4).first).to_contain_text("finished")
    folder = server.home / "runs" / re.findall(r"evaluation=([\w-]+)", link)[0]
    items = counted_on_disk(folder)
    _claims(page, items)
    _every_cell(page, items)
    turn_to(page, "Map")
    expect(main(page)).to_contain_text("Click a cell for its items")
    for part in ("Answers", "Export"):
        turn_to(page, part)
        expect(main(page)).to_contain_text("How to read this" if part == "Answers" else "The same table in a terminal")
    for part in ("Claims", "Scores", "Map", "Items"):
        turn_to(page, part)
        accessible(page, f"Evaluation, {part}")
    _keys_and_a_link(page, items, visit)
    _an_item_in_side_by_side(page, items)
    _a_damaged_cell_is_answered_again(page, folder, items)


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
    turn_to(page, "Scores")
    main(page).get_by_text("As a table", exact=True).click()
    table = main(page).get_by_role("table").first
    expect(table).to_be_visible()
    for name, title in SUBJECTS.items():
        right = sum(item["correct"] for item in items[name])
        row = table.get_by_role("row").filter(has=page.get_by_role("cell", name=title, exact=True))
        expect(row).to_contain_text(f"{100 * right / ITEMS:.1f}%")


def _keys_and_a_link(page: Page, items: dict[str, list[dict[str, Any]]], visit: Callable[..., Page]) -> None:
    """J and K step through the items, a row of the table is chosen by a click, and a copied link restores it all."""
    turn_to(page, "Items")
    at = main(page).get_by_text(re.compile(r"Item \d+ of \d+"))
    expect(at).to_contain_text(f"Item 1 of {ITEMS}")
    page.keyboard.press("j")
    expect(at).to_contain_text(f"Item 2 of {ITEMS}")
    page.keyboard.press("j")
    expect(at).to_contain_text(f"Item 3 of {ITEMS}")
    page.keyboard.press("k")
    expect(at).to_contain_text(f"Item 2 of {ITEMS}")
    settled(page)
    grid_is_drawn(page)
    main(page).get_by_test_id("stDataFrame").click(position={"x": 18, "y": 38 + 35 * 3 + 17})  # the fourth row's box
    expect(at).to_contain_text(f"Item 4 of {ITEMS}")
    settled(page)
    shown = items["projected"][3]
    columns = main(page).get_by_role("region", name="Answers of").get_by_role("article")
    expect(columns).to_have_count(len(SUBJECTS))
    expect(columns.first).to_contain_text(items["base"][3]["completion"].strip().splitlines()[0])
    marked = columns.nth(1).locator("mark")
    if shown["extracted"] is not None:  # what is marked is the answer that was read
        expect(marked).to_have_text(re.compile(re.escape(shown["extracted"].removesuffix(".0"))))
    link = page.url
    again = visit(link[link.index("/evaluation") :])
    expect(main(again)).to_contain_text(f"Item 4 of {ITEMS}")
    expect(main(again)).to_contain_text(shown["prompt"].splitlines()[0])
    again.context.close()


def _an_item_in_side_by_side(page: Page, items: dict[str, list[dict[str, Any]]]) -> None:
    for _ in range(3):  # back to the first
        page.keyboard.press("k")
        settled(page)
    shown = items["projected"][0]
    expect(main(page)).to_contain_text(shown["prompt"].splitlines()[0])
    button(page, "Open in Side by side").click()
    expect(page).to_have_url(re.compile("/side-by-side"))
    settled(page)
    expect(main(page)).to_contain_text("2 lanes")
    button(page, "Generate").click()
    expect(main(page).get_by_text(FINISHED)).to_have_count(2)
    expect(main(page)).to_contain_text("the same text as in the table ✓")  # greedy: letter for letter what was scored
    for name in ("base", "projected"):
        text = items[name][0]["completion"].strip().splitlines()[0]
        expect(main(page)).to_contain_text(text)
    button(page, "Back to the item").click()
    expect(page).to_have_url(re.compile("/evaluation.*item="))
    settled(page)
    expect(main(page)).to_contain_text(f"Item 1 of {ITEMS}")


def _a_damaged_cell_is_answered_again(page: Page, folder: Path, items: dict[str, list[dict[str, Any]]]) -> None:
    """A cell that is cut off is said, the others stay, and one click repairs it to what it was."""
    path = folder / "cells" / "projected--42--arithmetic.json"
    before = path.read_text()
    path.write_text(before[: len(before) // 2])
    turn_to(page, "Claims")
    expect(main(page)).to_contain_text("1 cell of 3 is damaged and left out; the others are as they were.")
    expect(main(page).get_by_role("article")).to_have_count(1)
    button(page, "Answer these again").click()
    expect(main(page).get_by_role("article")).to_have_count(2)
    expect(main(page).get_by_role("heading", level=4).first).to_contain_text("finished")
    assert counted_on_disk(folder) == items, "what was answered is what is read again"
