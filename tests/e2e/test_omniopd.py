"""OmniOPD in a browser, on the built-in model: a small run with its controls, its curves and audits, and its claims."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.server import Server
from tests.e2e.steps import accessible, button, main, settled, to_a_small_evaluation
from tests.e2e.test_fine_tune import fill_in

pytestmark = pytest.mark.builtin
SMALL: dict[str, Any] = {
    "capability": "arithmetic", "arms": ["omniopd", "omniopd-raw", "omniopd-random"], "capture": {"examples": 6},
    "corpus": {"prompts": 6, "held_out": 2, "max_new_tokens": 16}, "drift": False,
    "train": {"epochs": 1, "batch_size": 2, "learning_rate": 2e-4},
    "omniopd": {"chunks": 1, "chunk_tokens": 4, "samples": 3, "accept_short": True},
}  # fmt: skip
"""Two steps an arm: 4 rollouts of at most 16 tokens, and 3 texts of 4 tokens beside each."""
ARMS = {
    "omniopd": "OmniOPD",
    "omniopd-raw": "OmniOPD by the raw self",
    "omniopd-random": "OmniOPD by a random subspace",
}


def test_a_small_run_with_its_controls_from_the_form_to_its_claims(server: Server, visit: Callable[..., Page]) -> None:
    page = visit("/fine-tune?runs_view=New+run")
    fill_in(page, SMALL, 3 * 4 * 16)
    expect(main(page)).to_contain_text(f"{3 * 4 * 3 * 4} by teachers")
    expect(main(page)).to_contain_text("chunks of 4 tokens (the paper has 50, and 24.48 with 25)")
    button(page, "Start fine-tuning").click()
    expect(page).to_have_url(re.compile(r"run=\d{8}-\d{6}-arithmetic-"))
    expect(main(page).get_by_role("heading", level=4).first).to_contain_text("finished")
    (folder,) = [one for one in (server.home / "runs").iterdir() if one.name in page.url]
    table = main(page).get_by_role("table").first
    for arm in ARMS:
        card = json.loads((folder / "adapters" / arm / "card.json").read_text())
        expect(table).to_contain_text(f"{card['written']} + {card['taught']} by its teacher")
    settled(page)
    expect(main(page)).to_contain_text("Weight, entropy and distance")
    accessible(page, "Fine-tune, curves of students")
    _audits(page, folder)
    _claims(page, server)


def _audits(page: Page, folder: Path) -> None:
    """Those of the teacher and of both controls, as their files have them."""
    main(page).get_by_role("radio", name="Audits", exact=True).click()
    settled(page)
    for arm, title in ARMS.items():
        main(page).get_by_role("radio", name=title, exact=True).click()
        settled(page)
        lines = (folder / "arms" / arm / "round-1" / "audits.jsonl").read_text().splitlines()
        audits = [json.loads(line) for line in lines]
        assert len(audits) == 4, "each prompt once"
        last = max(one["step"] for one in audits)
        chunked = [one for one in audits if one["step"] == last and one["chunks"]]
        if not chunked:  # what a machine rounds decides how long rollouts are
            expect(main(page)).to_contain_text("nothing of it was put to the teacher")
            continue
        first = min(chunked, key=lambda one: int(one["number"]))
        strip = main(page).get_by_role("listbox", name=re.compile(f"^Rollout of step {last}"))
        expect(strip.get_by_role("option")).to_have_count(len(first["tokens"]))
        expect(main(page).locator(".spd-audit li")).to_have_count(3)
        expect(main(page)).to_contain_text(f"= {first['chunks'][0]['target']:.2f}")
    accessible(page, "Fine-tune, audits of a run")


def _claims(page: Page, server: Server) -> None:
    """The evaluation of these arms: the controls of OmniOPD are run, and the tokens are counted."""
    to_a_small_evaluation(page)
    button(page, "Start evaluation").click()
    expect(page).to_have_url(re.compile(r"evaluation=\d{8}-\d{6}-arithmetic-"))
    expect(main(page).get_by_role("heading", level=4).first).to_contain_text("finished")
    main(page).get_by_role("radio", name="Claims", exact=True).click()
    settled(page)
    claims = main(page).get_by_role("article")
    expect(claims).to_have_count(3)
    (run,) = [one for one in (server.home / "runs").iterdir() if (one / "adapters").is_dir()]
    card = json.loads((run / "adapters" / "omniopd" / "card.json").read_text())
    own = claims.first
    expect(own).to_contain_text(f"{card['written']} that it wrote, and {card['taught']} that its teacher wrote.")
    expect(own).to_contain_text("does any teacher do it?")
    expect(own).to_contain_text("does any projection do it?")
    expect(own).not_to_contain_text("not run")
