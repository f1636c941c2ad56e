"""What lies over something else: toolbars on a phone, and what is open on a page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import button


def test_no_toolbar_lies_over_a_figure(open_app: Callable[..., Page]) -> None:
    page = open_app("/spectrum")
    chart = page.locator(".js-plotly-plot").first
    chart.hover()
    expect(chart.locator(".modebar")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    chart.hover()
    expect(chart.locator(".modebar")).to_be_hidden()


@pytest.mark.builtin
def test_what_is_wrong_in_open_settings_is_said_there(open_app: Callable[..., Page]) -> None:
    page = open_app("/")
    expect(page.locator(".spd-strip")).to_be_visible()
    button(page, "Settings").click()
    open_settings = page.get_by_test_id("stPopoverBody")
    field = open_settings.get_by_role("textbox", name="Layers")
    field.fill("99")
    field.press("Enter")
    expect(open_settings.get_by_role("alert")).to_contain_text("These layers cannot be used")
