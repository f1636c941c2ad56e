"""Terms are read from the package as text, and a model is not touched before they are accepted."""

import importlib.util
import json
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from spd_core.errors import ModelError
from spd_core.models.builtin import builtin_model
from spd_core.models.described import describe_model, weights_are_here
from spd_core.models.packaged import GEMMA, PACKAGED, SMOLLM2
from spd_core.models.terms import accept_terms, are_accepted, is_installed, require_terms, terms_of

PAGE = """<html><head><title>T</title><style>p {color: red}</style></head><body><p>Menu</p>
<div class="devsite-article-body clearfix"><p>By using <b>it</b>, you
agree.</p><div><h2>1 Use</h2></div><ul><li>Not &lt;that&gt;</li></ul><script>run()</script></div><p>Feedback</p></body>
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the installed packages, with terms and no weights; the file with the terms."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SPD_ACCEPT_TERMS", raising=False)
    found = {name: ModuleSpec(name, None, origin=str(tmp_path / name / "__init__.py")) for name in GEMMA.modules}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found.get(name))
    terms = tmp_path / GEMMA.modules[0] / GEMMA.terms
    terms.parent.mkdir(parents=True)
    terms.write_text(PAGE, "utf-8")
    return terms


def test_terms_are_text_without_what_surrounds_them(package: Path) -> None:
    assert terms_of(GEMMA) == "By using it, you agree.\n\n1 Use\n\n• Not <that>"
    assert terms_of(SMOLLM2) == ""


def test_the_text_of_the_package_begins_and_ends_as_the_terms_do() -> None:
    if not is_installed(GEMMA):
        pytest.skip(f"needs {GEMMA.title}: {GEMMA.install}")
    text = terms_of(GEMMA)
    assert text.startswith("Last modified: ")
    assert "By using, reproducing, modifying, distributing, performing or displaying" in text
    assert "Section 1: DEFINITIONS" in text.splitlines()
    assert "<" not in text
    assert "Send feedback" not in text


def test_nothing_is_used_before_its_terms_are_accepted(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = r"Gemma Terms of Use alone, which nobody has accepted here; .* models --accept gemma"
    for refused in (lambda: describe_model("gemma"), lambda: builtin_model(name="gemma")):
        with pytest.raises(ModelError, match=remedy):
            refused()
    assert not weights_are_here("gemma")
    assert are_accepted(SMOLLM2), "it asks for nothing"

    kept = accept_terms(GEMMA)
    assert kept is not None
    assert json.loads(kept.read_text())["terms"] == "Gemma Terms of Use"
    require_terms(GEMMA)
    assert weights_are_here("gemma")
    with pytest.raises(ModelError, match="the packages of Gemma 3 270M hold no part of a GGUF file; install it with"):
        builtin_model(name="gemma")

    package.write_text(PAGE.replace("agree", "agree again"), "utf-8")
    assert not are_accepted(GEMMA), "those are other terms"
    monkeypatch.setenv("SPD_ACCEPT_TERMS", "other, gemma")
    assert are_accepted(GEMMA)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"sha256": 1}'])
def test_a_damaged_acceptance_is_none(package: Path, damage: bytes) -> None:
    kept = accept_terms(GEMMA)
    assert kept is not None
    kept.write_bytes(damage)
    assert not are_accepted(GEMMA)


def test_terms_that_cannot_be_read_are_no_consent(package: Path) -> None:
    package.write_text("<html><p>Not found</p></html>", "utf-8")
    with pytest.raises(ModelError, match="holds no terms that can be read; install it again with: pip install gemma3"):
        terms_of(GEMMA)
    accept_terms(GEMMA)
    package.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        require_terms(GEMMA)


def test_parts_that_are_not_the_gguf_are_refused(package: Path, tmp_path: Path) -> None:
    accept_terms(GEMMA)
    for number, module in enumerate(GEMMA.modules[1:]):
        (tmp_path / module / "data").mkdir(parents=True)
        (tmp_path / module / "data" / f"model.gguf.part{number:02d}").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"the GGUF of 4 parts has checksum .*…, expected a5fd3b62230a…; install it"):
        builtin_model(name="gemma")
    assert [path.name for path in (tmp_path / "home" / "models").iterdir() if not path.name.endswith(".lock")] == []


def test_a_model_that_is_not_installed_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="Gemma 3 270M is not there; install it with: pip install gemma3-270m"):
        describe_model("gemma")
    assert not is_installed(GEMMA)


def test_the_requirements_name_what_is_looked_for() -> None:
    from tests.test_requirements import canonical, pins

    pinned = pins("requirements-gemma.txt")
    assert set(pinned) == {canonical(module) for module in GEMMA.modules}
    assert f"{canonical(GEMMA.modules[0])}=={pinned[canonical(GEMMA.modules[0])]}" in GEMMA.install
    assert len({model.revision for model in PACKAGED.values()}) == len(PACKAGED)
