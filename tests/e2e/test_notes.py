"""Notes on directions in a browser, on a recorded capture whose lens and causal check are there without a model."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import accessible, button, main, settled

pytestmark = pytest.mark.builtin


def test_a_direction_is_named_and_found_again(open_app: Callable[..., Page]) -> None:
    page = open_app("/attributions?capture=multiple-choice&direction=3&view=Causal+check")
    expect(main(page).get_by_role("heading", name="Causal check of layer 29 value, direction 3")).to_be_visible()
    expect(main(page)).to_contain_text(re.compile(r"recorded on \d{4}-\d\d-\d\d with SmolLM2-135M-Instruct"))
    button(page, "Notes").click()
    popover = page.get_by_test_id("stPopoverBody")
    popover.get_by_role("textbox", name="Name of layer 29 value, direction 3").fill("<b>letters</b>")
    popover.get_by_role("textbox", name="Remark").fill("Fires on A to D.")
    popover.get_by_role("button", name="Save the note").click()
    expect(popover).to_contain_text("Saved.")
    settled(page)
    accessible(page, "Notes")
    title = "layer 29 value, direction 3 “<b>letters</b>”"
    expect(main(page).get_by_role("heading", name=f"Causal check of {title}")).to_be_visible()

    other = open_app("/attributions?capture=multiple-choice&layer=15&kind=key&view=Logit+lens")
    button(other, "Notes").click()
    popover = other.get_by_test_id("stPopoverBody")
    search = popover.get_by_role("textbox", name="Find a direction by its note")
    search.fill("fires on a")
    search.press("Enter")
    popover.get_by_role("button", name="<b>letters</b> · layer 29 value, direction 3").click()
    expect(other).to_have_url(re.compile("layer=29&kind=value&view=Logit.lens&direction=3&"))
    expect(main(other).get_by_role("heading", name=f"Logit lens of {title}")).to_be_visible()
    expect(main(other)).to_contain_text("Your remark: Fires on A to D.")
