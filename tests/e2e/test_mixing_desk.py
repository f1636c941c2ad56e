"""The mixing desk in a browser: one click from a direction, faders by keyboard, the link, axe, a phone."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import accessible, button, main, settled

pytestmark = pytest.mark.builtin


def test_from_a_direction_to_a_mix_and_its_link(open_app: Callable[..., Page]) -> None:
    page = open_app("/attributions?direction=12")
    button(page, "Mix this direction").click()
    expect(page).to_have_url(re.compile(r"/side-by-side\?.*mix=29v_12x0"))
    desk = main(page)
    fader = desk.get_by_role("slider", name="Gain of direction 2")
    expect(desk.get_by_role("slider", name="Gain of direction 12")).to_be_visible()
    settled(page)
    fader.press("ArrowRight")
    expect(page).to_have_url(re.compile("mix=29v_2x1.25_12x0"))
    settled(page)
    expect(main(page)).to_contain_text("mixed: layer 29 values, d2 × 1.25, d12 × 0")
    accessible(page, "Mixing desk")
    copied = open_app(urlsplit(page.url)._replace(scheme="", netloc="").geturl())
    expect(main(copied)).to_contain_text("mixed: layer 29 values, d2 × 1.25, d12 × 0")
    expect(copied).to_have_url(re.compile("mix=29v_2x1.25_12x0"))
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Token attributions")
