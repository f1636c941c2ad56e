"""The recorded audit in a browser: found without a run, a chunk clicked, steps moved by slider, key and chart."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from spd_core.distill.recorded_audits import RECORDED_AUDITS, read_recorded_training
from tests.e2e.steps import accessible, button, click_point, main, settled


def test_a_recorded_audit_is_found_read_and_linked(open_app: Callable[..., Page]) -> None:
    page = open_app("/fine-tune?runs_view=All+runs")
    button(page, "See a recorded audit").click()
    expect(main(page).get_by_role("status")).to_contain_text("The teacher agrees with")
    settled(page)
    training = read_recorded_training(RECORDED_AUDITS / "arithmetic")
    audit = next(one for one in training.audits if one.step > 2 and len(one.chunks) == 2)
    slider = main(page).get_by_role("slider", name="Optimizer step")
    slider.focus()
    page.keyboard.press("Home")
    expect(page).to_have_url(re.compile("audit_step=1(?!\\d)"))
    settled(page)
    click_point(page, 0, "weight π̂", audit.step - 1)
    expect(page).to_have_url(re.compile(f"audit_step={audit.step}(?!\\d)"))
    expect(slider).to_have_value(str(audit.step))
    settled(page)
    page.reload()
    settled(page)
    expect(slider).to_have_value(str(audit.step))
    page.goto(f"{page.url}&audit_prompt={audit.number}")
    settled(page)
    strip = main(page).get_by_role("listbox", name=re.compile("^Rollout of step"))
    expect(strip.get_by_role("option")).to_have_count(len(audit.tokens))
    expect(main(page)).to_contain_text("Chunk 1: the student wrote")
    strip.get_by_role("option").nth(audit.chunks[1].start).click()
    expect(main(page)).to_contain_text("Chunk 2: the student wrote")
    expect(page).to_have_url(re.compile("audit_chunk=2"))
    settled(page)
    expect(main(page).locator(".spd-audit li")).to_have_count(training.settings.chunks.samples)
    expect(main(page)).to_contain_text(f"= {audit.chunks[1].target:.2f}")
    main(page).get_by_role("radio", name="Chunk 1").click()
    expect(main(page)).to_contain_text("Chunk 1: the student wrote")
    settled(page)
    accessible(page, "Fine-tune, a recorded audit")
    button(page, "Back to Fine-tune").click()
    expect(main(page).get_by_role("radio", name="All runs")).to_be_visible()
