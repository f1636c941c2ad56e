"""Tables on a phone: a row becomes a card, and nothing of it is cut. By a page of their own, without the app."""

from typing import Any

import pytest
from playwright.sync_api import Browser

from app.ui.tables import table_html
from tests import ROOT

COLUMNS = ("Arm", "Rows", "Steps", "Train loss, mean of an epoch", "Held-out loss", "Held-out prompts right", "Time")
STREAMLIT = "* { box-sizing: border-box } body { margin: 0 }"
STYLE = (ROOT / "app" / "ui" / "style.css").read_text()
PLACES = """[...document.querySelectorAll('td')].map(cell => ({
    right: cell.getBoundingClientRect().right, top: cell.getBoundingClientRect().top,
    name: getComputedStyle(cell, '::before').content}))"""


@pytest.mark.parametrize("width", [390, 1366])
def test_a_table_of_many_columns_is_whole(browser: Browser, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    rows = [dict.fromkeys(COLUMNS, "2.512 → 2.143 nats")]
    page.set_content(f"<style>{STREAMLIT} {STYLE}</style>{table_html(rows, 'Trained adapters')}")
    cells: list[dict[str, Any]] = page.evaluate(PLACES)
    page.close()
    assert len(cells) == len(COLUMNS)
    assert all(cell["right"] <= width for cell in cells)
    if width == 390:
        assert [cell["name"].strip('"') for cell in cells] == list(COLUMNS), "each says of what column it is"
        assert sorted({cell["top"] for cell in cells}) == [cell["top"] for cell in cells], "one below the other"
    else:
        assert len({cell["top"] for cell in cells}) == 1, "a row"
