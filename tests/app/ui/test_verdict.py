"""The line above a page: text alone, told to a screen reader, its first sentence apart."""

import re

from streamlit.testing.v1 import AppTest


def drawn(text: str) -> list[str]:
    def script(text: str) -> None:
        from app.ui.verdict import draw_verdict

        draw_verdict(text)

    at = AppTest.from_function(script, args=(text,)).run()
    assert not at.exception
    return [one.proto.body for one in at.get("html")]


def test_the_first_sentence_stands_apart_and_numbers_do_not_end_it() -> None:
    (html,) = drawn("97.5% lies in 3 of 12. The other is as steep. More examples decide.")
    assert '<p class="spd-verdict-first">97.5% lies in 3 of 12.</p>' in html
    assert "<p>The other is as steep. More examples decide.</p>" in html
    assert 'role="status"' in html


def test_one_sentence_is_all_there_is() -> None:
    (html,) = drawn("Nothing is known.")
    assert html.count("<p") == 1


def test_what_is_said_is_text() -> None:
    (html,) = drawn('<img src="http://evil"> is escaped. <b>So is this</b>.')
    assert "<img" not in html
    assert "<b>" not in html
    assert "&lt;img" in html
    assert "&lt;b&gt;" in html


def test_no_verdict_draws_nothing() -> None:
    assert drawn("") == []


def test_a_term_says_what_it_means_where_it_first_comes_up() -> None:
    (html,) = drawn("90% of the energy lies in 3 directions. The energy of the null lies in 4.")
    assert html.count("<dfn") == 3
    assert re.sub(r"<[^>]+>", "", html).split("\n")[:2] == [
        "90% of the energy lies in 3 directions.",
        "The energy of the null lies in 4.",
    ]
    (first, *_) = re.findall(r'<dfn class="spd-term" tabindex="0" data-meaning="([^"]+)" aria-description="\1">', html)
    assert first.startswith("The squared length of all gradients")
