"""Fine-tune in a browser, on the built-in model: a small recipe, a closed tab, a killed server."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.server import Server
from tests.e2e.steps import (
    FINISHED,
    accessible,
    button,
    click_grid,
    go_to,
    main,
    set_setting,
    settled,
    to_a_small_evaluation,
)

pytestmark = pytest.mark.builtin
SMALL = {
    "capability": "arithmetic", "arms": ["psr", "ssd", "spd"], "capture": {"examples": 6},
    "corpus": {"prompts": 8, "held_out": 2, "max_new_tokens": 24}, "train": {"epochs": 1, "learning_rate": 2e-4},
}  # fmt: skip
"""The stages of the preset quick, each made short."""


def fill_in(page: Page, recipe: dict[str, Any], tokens: int = 0) -> None:
    """Fill the form from a file, as somebody does who was sent a recipe.

    Args:
        tokens: that the form then promises at most; of arms on corpora it is known here.
    """
    settled(page)  # what the page draws anew closes what was opened on it
    button(page, "Import a recipe").click()
    file = {"name": "recipe.json", "mimeType": "application/json", "buffer": json.dumps(recipe).encode()}
    page.locator('input[type="file"]').set_input_files(file)  # type: ignore[arg-type]
    fill = page.get_by_role("button", name="Fill the form with it")
    fill.wait_for()
    settled(page)
    fill.click()
    settled(page)
    page.keyboard.press("Escape")
    corpus = recipe["corpus"]
    tokens = tokens or corpus["prompts"] * corpus["max_new_tokens"] * len(recipe["arms"])
    expect(main(page)).to_contain_text(f"{tokens:,} new tokens")


def test_one_button_a_closed_tab_and_a_killed_server(server: Server, visit: Callable[..., Page]) -> None:
    page = visit("/fine-tune?runs_view=New+run")
    expect(main(page)).to_contain_text("3,456 new tokens")  # the preset quick's, which one button would start
    fill_in(page, SMALL)
    expect(main(page)).to_contain_text("576 new tokens")
    button(page, "Start fine-tuning").click()
    expect(main(page)).to_contain_text(re.compile("Stage [1-9] of 10"))
    expect(page).to_have_url(re.compile(r"run=\d{8}-\d{6}-arithmetic-"))
    link = page.url.removeprefix(server.url)
    button(page, "Start fine-tuning").wait_for(state="detached")
    other = visit(link)  # a second browser sees the same run
    expect(main(other)).to_contain_text(re.compile("Stage [1-9] of 10"))
    other.context.close()
    page.context.close()
    server.kill()
    server.start()
    page = visit(link)
    expect(main(page).get_by_role("heading", level=4).first).to_contain_text("finished")
    expect(main(page).get_by_role("table").first).to_contain_text(re.compile("PSR.*SSD.*SPD", re.DOTALL))
    accessible(page, "Fine-tune, a finished run")
    (folder,) = [one for one in (server.home / "runs").iterdir() if one.name in link]
    for part, says in (
        ("Corpora", "rows"), ("Completions", _first_completion(folder)), ("Drift", "How to read this"),
        ("Log", ""), ("About", "The command that carries it out"), ("Curves", "How to read this"),
    ):  # fmt: skip
        main(page).get_by_role("radio", name=part).click()
        settled(page)
        expect(main(page)).to_contain_text(says)
    _from_the_run_to_its_claims(page, server)
    page = visit(link)
    button(page, "Compare side by side").click()
    expect(page).to_have_url(re.compile("/side-by-side.*distilled=PSR.*distilled=SSD.*distilled=SPD"))
    settled(page)
    page.reload()  # the link holds them
    settled(page)
    expect(main(page)).to_contain_text("5 lanes")
    set_setting(page, "Max new tokens", 8)
    button(page, "Generate").click()
    expect(main(page).get_by_text(FINISHED)).to_have_count(5)
    for arm in ("PSR", "SSD", "SPD"):
        expect(main(page).get_by_text(f"Distilled ({arm})").first).to_be_visible()


def _first_completion(folder: Path) -> str:
    """What a model went on to write first, as its run noted it: machines that round otherwise write otherwise."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return str(next(event["completion"] for event in events if event.get("kind") == "sample")).strip().splitlines()[0]


def _from_the_run_to_its_claims(page: Page, server: Server) -> None:
    """Three clicks; in between, the set is made small for the test."""
    to_a_small_evaluation(page)
    before = set((server.home / "runs").iterdir())
    button(page, "Start evaluation").click()
    expect(page).to_have_url(re.compile(r"evaluation=\d{8}-\d{6}-arithmetic-"))
    (folder,) = set((server.home / "runs").iterdir()) - before
    subjects = [one["arm"] for one in json.loads((folder / "run.json").read_text())["recipe"]["subjects"]]
    assert subjects == [None, "psr", "ssd", "spd", "random", "full", "shuffled"], "the base, and what its claims need"
    expect(main(page).get_by_role("heading", level=4).first).to_contain_text("finished")
    main(page).get_by_role("radio", name="Claims", exact=True).click()
    settled(page)
    claims = main(page).get_by_role("article")
    expect(claims).to_have_count(6)
    spd = claims.filter(has_text="SPD").first
    expect(spd).to_be_attached()
    expect(spd).not_to_contain_text("not run")


def test_every_tick_is_saved_before_the_training_begins(server: Server, visit: Callable[..., Page]) -> None:
    page = visit("/fine-tune?runs_view=New+run")
    fill_in(page, {**SMALL, "arms": ["psr", "spd"], "review": True, "drift": False})
    button(page, "Start fine-tuning").click()
    expect(main(page)).to_contain_text("waits for your review")
    settled(page)
    (folder,) = [one for one in (server.home / "runs").iterdir() if one.name in page.url]
    expect(main(page).get_by_role("table").first).to_contain_text(re.compile("PSR.*SPD", re.DOTALL))
    accessible(page, "Fine-tune, corpora beside each other")
    _show_corpus(page, "SPD")
    accessible(page, "Fine-tune, a corpus to review")
    expect(main(page)).to_contain_text("Saved: no row rejected")
    click_grid(page, 0, 36)
    expect(main(page)).to_contain_text("Saved: 1 row rejected")
    click_grid(page, 1, 36)
    expect(main(page)).to_contain_text("Saved: 2 rows rejected")
    _show_corpus(page, "PSR")
    click_grid(page, 2, 36)
    expect(main(page)).to_contain_text("Saved: 3 rows rejected")
    expect(button(page, "Train on")).to_contain_text(re.compile(r"Train on \d of 12 rows"))
    page.reload()
    settled(page)
    expect(main(page)).to_contain_text("Saved: 3 rows rejected")
    assert json.loads((folder / "rejected.json").read_text()) == {"spd": [0, 1], "psr": [2]}
    button(page, "Train on").click()
    expect(button(page, "Stop this run")).to_be_visible()
    button(page, "Stop this run").click()
    expect(button(page, "Resume")).to_be_visible()


def _show_corpus(page: Page, name: str) -> None:
    main(page).get_by_role("radio", name=name, exact=True).click()
    settled(page)


def test_a_run_is_stopped_resumed_and_deleted(visit: Callable[..., Page]) -> None:
    page = visit("/fine-tune?runs_view=New+run")
    button(page, "Start fine-tuning").click()
    expect(main(page)).to_contain_text(re.compile("Stage [1-9] of 10"))
    button(page, "Stop this run").click()
    expect(button(page, "Resume")).to_be_visible()
    expect(main(page)).to_contain_text("stopped")
    button(page, "Resume").click()
    expect(button(page, "Stop this run")).to_be_visible()
    button(page, "Stop this run").click()
    expect(button(page, "Delete this run")).to_be_enabled()
    button(page, "Delete this run").click()
    button(page, "Delete permanently").click()
    expect(page.get_by_text("are free again")).to_be_visible()
    go_to(page, "Home")
