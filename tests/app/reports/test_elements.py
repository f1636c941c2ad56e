"""What a report puts into its page as it is: data, scripts and looks, and the policy that names these by hashes."""

import base64
import hashlib
import json
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs_version

from app.reports.elements import content_policy, hash_source, json_element, script_element, style_element, trusted
from app.reports.page import PLOTLY
from spd_core.errors import InputError

EVIL = "</script><script>alert(1)</script><!-- & \u2028 \u2029 ]]> \" '"


class Scripts(HTMLParser):
    """What a browser takes for the contents of each script."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self.inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script"
        self.found += [""] * self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[-1] += data

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")


def test_data_comes_back_and_no_text_in_it_is_a_tag() -> None:
    value = {"text": EVIL, EVIL: [1.5, None, True, "ünï"]}
    page = json_element('a"b', value)
    (inside,) = Scripts(page).found
    assert json.loads(inside) == value
    assert not set("<>&\u2028\u2029") & set(inside)
    assert page.startswith('<script type="application/json" id="a&#34;b">')
    with pytest.raises(ValueError, match="JSON"):
        json_element("a", float("nan"))


def test_a_policy_names_scripts_and_styles_by_what_they_hold() -> None:
    program, rules = "const a = 1 < 2 && 'ü';", "a::before { content: '<b>'; }"
    script, source = script_element(program)
    style, looks = style_element(rules, name="n", kind="k")
    assert Scripts(script).found == [program]
    assert style == f'<style id="n" class="k">{rules}</style>'
    for text, said in ((program, source), (rules, looks)):
        digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
        assert said == hash_source(text) == f"'sha256-{digest}'"
    policy = content_policy([source], [looks])
    assert policy.startswith(f"default-src 'none'; script-src {source}; style-src {looks}; ")
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("end", ["</script>", "</STYLE >", "<!--", "<script", "a\r\nb", "\0"])
def test_what_would_end_its_element_is_refused(end: str) -> None:
    with pytest.raises(InputError, match="spell it in another way"):
        trusted(f"let a = 1; {end}")


def test_plotly_is_the_one_of_the_pages_and_as_it_was_published() -> None:
    """The hash is that of plotly.js-cartesian-dist-min 4.1.1 in the npm registry."""
    program = PLOTLY.read_bytes()
    assert hashlib.sha256(program).hexdigest() == "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"
    assert f"plotly.js (cartesian - minified) v{get_plotlyjs_version()}\n".encode() in program[:200]
    assert get_plotlyjs_version() in PLOTLY.name
    assert b"Permission is hereby granted, free of charge" in (PLOTLY.parent / "LICENSE").read_bytes()
    assert trusted(program.decode()), "nothing in it ends its element"
