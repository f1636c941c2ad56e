"""Every template against HTML written by hand, filled with text that would like to be more than text."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from app.ui import tokens
from app.ui.tables import table_html
from spd_core.data.spans import Encoded
from spd_core.generation import report
from spd_core.generation.differences import Piece
from spd_core.templates import FOLDER, render
from tests import ROOT

EVIL = "<script>alert('1')</script> \"q\" & \x1b[1m\u202e {{ 7 * 7 }} {% raw %}"
SHOWN = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &#34;q&#34; &amp; ⟨U+001B⟩[1m⟨U+202E⟩ {{ 7 * 7 }} {% raw %}"
FORK = '<b class="fork" title="The first token that differs">▼</b>'


class Tags(HTMLParser):
    """Names of all opening tags and of their attributes, and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def squeezed(page: str) -> str:
    """A page without line breaks between tags, which nobody sees."""
    return re.sub(r">\n+<", "><", page)


# --- the rules ---------------------------------------------------------------------------------------------------


def test_no_template_trusts_what_is_filled_in() -> None:
    sources = [path.read_text("utf-8") for path in FOLDER.iterdir()]
    assert len(sources) > 10
    for source in sources:
        assert not re.search(r"\|\s*safe|autoescape|Markup|finalize", source)


def test_what_is_missing_is_an_error_and_what_is_html_stays() -> None:
    with pytest.raises(UndefinedError, match="'label' is undefined"):
        render("table.html", names=["a"], rows=[], compact=False)
    page = render(
        "table.html", label="t", names=["a", "b"], rows=[[Markup("<i>drawn</i>"), "<i>told</i>"]], compact=False
    )
    assert "<i>drawn</i></td>" in page
    assert "&lt;i&gt;told&lt;/i&gt;</td>" in page


def test_jinja_is_loaded_when_something_is_filled_in() -> None:
    code = (
        "import sys, spd_core.generation.report, spd_core.evaluation.report\n"
        "from app.ui import figures, tables, tokens\n"
        "early = 'jinja2' in sys.modules\n"
        "tables.table_html([{'a': 'b'}], 'c')\n"
        "print(early, 'jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


# --- parts of pages ----------------------------------------------------------------------------------------------


def test_a_table() -> None:
    assert table_html([{"A": "1", EVIL: EVIL}, {"A": "", EVIL: "2"}], EVIL) == (
        f'<div class="spd-table" role="region" tabindex="0" aria-label="{SHOWN}"><table><thead><tr>'
        f'<th scope="col">A</th><th scope="col">{SHOWN}</th></tr></thead><tbody>'
        f'<tr><td data-label="A">1</td><td data-label="{SHOWN}">{SHOWN}</td></tr>'
        f'<tr><td data-label="A"></td><td data-label="{SHOWN}">2</td></tr></tbody></table></div>'
    )


def test_a_token_strip() -> None:
    text = "<b>\u202e 'x'\n"
    encoded = Encoded("id", text, (0, 1, 2), ((0, 0), (0, 5), (5, 9)), (2,))
    assert tokens.loss_mask_html(encoded) == (
        '<div class="spd-strip" role="group" aria-label="3 tokens, 1 of them loss tokens">'
        '<span class="tk" title="token 0: context, no loss">∅</span><wbr>'
        '<span class="tk" title="token 1: context, no loss">&lt;b&gt;⟨U+202E⟩·</span><wbr>'
        '<span class="tk on" tabindex="0" title="token 2: the loss is taken here">&#39;x&#39;↵\n</span></div>'
    )


def test_a_text_with_its_changes() -> None:
    pieces = [Piece("same\n\n", False), Piece(EVIL, True), Piece(" \n", True)]
    written = f"same\n\n<ins>{SHOWN}</ins> \n"
    assert report.diff_html(pieces, None) == written
    assert render("text.html", parts=report.diff_parts(pieces, None)) == f'<div class="spd-text">{written}</div>'
    assert report.diff_html(pieces, 2).startswith(f'<span class="same">sa</span>{FORK}me\n\n<ins>')
    assert report.diff_html(pieces, 6).startswith(f'<span class="same">same\n\n</span>{FORK}<ins>')
    assert report.diff_html(pieces, 999) == f'<span class="same">same\n\n{SHOWN} \n</span>{FORK}'
    new = report.diff_parts([Piece(EVIL, True)], None, "new")
    assert render("diff.html", parts=new) == f'<span class="new">{SHOWN}</span>'
    assert report.diff_html([], 0) == FORK
    assert report.diff_html([], None) == "<i>(no text)</i>"


CONTROL = {"name": EVIL, "state": "not run", "mark": "–", "numbers": "", "question": EVIL}
CLAIM: dict[str, Any] = {
    "kind": "helps", "compact": False, "mark": "▲", "headline": "helps", "subject": EVIL, "change": EVIL, "brief": EVIL,
    "sentence": EVIL, "facts": [("Effect", EVIL), ("Items", [EVIL, "two"])], "more": [("Cost", EVIL)],
    "controls": [CONTROL, {**CONTROL, "state": "passed", "mark": "✓", "numbers": EVIL}], "rule": EVIL, "origin": EVIL,
}  # fmt: skip
COMPACT = {**CLAIM, "kind": "not-shown", "compact": True, "mark": "·", "headline": "not shown", "controls": []}
INSIDE = (
    f"<p>{SHOWN}</p><dl><dt>Effect</dt><dd>{SHOWN}</dd><dt>Items</dt><dd><ul><li>{SHOWN}</li><li>two</li></ul></dd>"
    "CONTROLS"
    f'<dt>Cost</dt><dd>{SHOWN}</dd></dl><p class="spd-origin">{SHOWN}</p>'
)
CONTROLS = (
    '<dt>Controls</dt><dd><ul class="spd-controls">'
    f'<li class="spd-not-run"><b>– {SHOWN}: not run</b>; {SHOWN}</li>'
    f'<li class="spd-passed"><b>✓ {SHOWN}: passed</b>, {SHOWN}; {SHOWN}</li></ul><p class="spd-rule">{SHOWN}</p></dd>'
)
CARD = (
    f'<article class="spd-claim spd-helps" aria-label="{SHOWN}: helps">'
    '<p class="spd-headline"><span class="spd-mark" aria-hidden="true">▲</span> helps</p>'
    f'<p class="spd-who">{SHOWN} <span class="spd-change">{SHOWN}</span></p>'
    f"{INSIDE.replace('CONTROLS', CONTROLS)}</article>"
)
LINE = (
    f'<article class="spd-claim spd-not-shown spd-compact" aria-label="{SHOWN}: not shown"><details><summary>'
    f'<span class="spd-who">{SHOWN}</span>'
    '<span class="spd-headline"><span class="spd-mark" aria-hidden="true">·</span> not shown</span>'
    f'<span class="spd-change">{SHOWN}</span>'
    f'<span class="spd-brief">{SHOWN}</span></summary>{INSIDE.replace("CONTROLS", "")}</details></article>'
)


def test_a_claims_card_and_a_line_that_opens() -> None:
    assert squeezed(render("claim.html", claim=CLAIM).strip()) == CARD
    assert squeezed(render("claim.html", claim=COMPACT).strip()) == LINE
    both = squeezed(render("claims.html", claims=[COMPACT, CLAIM]))
    assert both == f'<div class="spd-claims">{CARD}</div><div class="spd-claims spd-list">{LINE}</div>'


def test_a_verdict() -> None:
    page = squeezed(render("verdict.html", kind="helps", mark="▲", first=EVIL, rest=EVIL, warnings=[EVIL]))
    assert re.sub("</?dfn[^>]*>", "", page) == (
        '<div class="spd-verdict-box spd-helps" role="status"><p class="spd-verdict-first">'
        f'<span class="spd-mark" aria-hidden="true">▲</span> {SHOWN}</p><p>{SHOWN}</p>'
        f'<p class="spd-warning"><b>⚠</b> {SHOWN}</p></div>'
    )


ANSWER: dict[str, Any] = {
    "who": EVIL, "chosen": True, "verdict": "✗ wrong", "kind": "wrong", "read": EVIL, "likelihood": None, "how": EVIL,
    "parts": [("\n a ", ""), (EVIL, "read"), ("b\n", ""), (EVIL, "unread")], "reason": EVIL, "trained": EVIL,
}  # fmt: skip


def test_an_item_keeps_every_space_of_what_was_written() -> None:
    nats = {**ANSWER, "chosen": False, "read": None, "likelihood": 0.5, "parts": [], "reason": "", "trained": ""}
    page = squeezed(render("item.html", label=EVIL, answers=[ANSWER, {**ANSWER, "parts": []}, nats]))
    assert page.startswith(f'<div class="spd-item" role="region" tabindex="0" aria-label="{SHOWN}"><article')
    assert (
        f'<article class="spd-answer spd-chosen" aria-label="{SHOWN}: ✗ wrong"><p class="spd-who">{SHOWN}</p>' in page
    )
    assert (
        f'<p class="spd-said">\n a <mark title="The answer was read here">{SHOWN}</mark>b\n'
        f'<span class="spd-unread" title="Not read: the answer had ended">{SHOWN}</span></p>'
    ) in page
    assert page.count("<i>(nothing was written)</i>") == 1
    assert page.count('class="spd-said"') == 2, "a likelihood wrote nothing"
    assert page.count("Why it is not right") == 2
    assert page.count(f'<p class="spd-how">{SHOWN}</p>') == 5, "how each ended, and on what two of them were trained"


@pytest.mark.parametrize(
    "page",
    [
        render("claims.html", claims=[CLAIM, COMPACT]),
        render("item.html", label=EVIL, answers=[ANSWER]),
        render("verdict.html", kind="helps", mark="▲", first=EVIL, rest=EVIL, warnings=[EVIL]),
        table_html([{EVIL: EVIL}], EVIL),
        report.diff_html([Piece(EVIL, True)], 3),
    ],
)
def test_a_browser_reads_text_alone(page: str) -> None:
    found = Tags(page)
    assert "script" not in found.tags
    assert not any(name.startswith("on") for name in found.attributes)
    assert "<script>alert('1')</script>" in found.text.replace("▼", "")
    assert not re.search("[\x1b\u202e]", found.text)
