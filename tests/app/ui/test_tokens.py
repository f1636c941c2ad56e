"""Tokens on the page: those under the loss are marked, and nothing in them can act."""

from app.ui import tokens
from spd_core.data.spans import Encoded


def test_only_supervised_tokens_are_marked_and_all_are_escaped() -> None:
    text = "<img src=x> 1\n"
    encoded = Encoded("id", text, (0, 5, 6, 7), ((0, 0), (0, 11), (11, 13), (13, 14)), (2,))
    shown = tokens.loss_mask_html(encoded)
    assert "<img" not in shown
    assert "&lt;img·src=x&gt;" in shown
    assert shown.count('class="tk on"') == shown.count("tabindex") == 1
    assert '<span class="tk on" tabindex="0" title="token 2: the loss is taken here">·1</span>' in shown
    assert "↵\n" in shown
    assert "4 tokens, 1 of them loss tokens" in shown


def test_an_emoji_of_two_tokens_is_drawn_once() -> None:
    encoded = Encoded("id", "a🙂b", (1, 2, 3, 4), ((0, 1), (1, 2), (1, 2), (2, 3)), (2, 3))
    shown = tokens.loss_mask_html(encoded)
    assert shown.count("🙂") == 1
    assert '<span class="tk on" tabindex="0" title="token 2: the loss is taken here">…</span>' in shown
