"""Keys into the session: all are named in one file, and values from links are brought into range."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.ui import session
from tests import ROOT

PICTURES = {"chart", "token_strip", "container", "download_button"}
"""What is drawn with a key that nobody reads back: it names a picture, a file or a box for the stylesheet."""


def is_literal(node: ast.expr) -> bool:
    """A string of its own, one that begins as such, or a module's constant that is none of `session`."""
    if isinstance(node, ast.JoinedStr):
        return bool(node.values) and is_literal(node.values[0])
    if isinstance(node, ast.BinOp):
        return is_literal(node.left)
    if isinstance(node, ast.Name):
        return node.id.strip("_").isupper()
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_session(node: ast.expr) -> bool:
    return ast.unparse(node).endswith("session_state")


def is_state(node: ast.expr) -> bool:
    return is_session(node) or ast.unparse(node) == "state" or ast.unparse(node).endswith("query_params")


def keys_of(node: ast.AST) -> Iterator[ast.expr]:
    """Every expression in a node by which the session is asked, or a widget called."""
    if isinstance(node, ast.Subscript) and is_state(node.value):
        yield node.slice
    methods = ("get", "pop", "setdefault", "update")
    if isinstance(node, ast.Attribute) and node.attr not in methods and is_session(node.value):
        yield ast.Constant(node.attr)
    if isinstance(node, ast.Compare) and any(is_state(side) for side in node.comparators):
        yield node.left
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).split(".")[-1]
        yield from (word.value for word in node.keywords if word.arg == "key" and name not in PICTURES)
        if isinstance(node.func, ast.Attribute) and is_state(node.func.value):
            given = node.args[:1]
            yield from (part for part in given if not isinstance(part, ast.Dict))
            yield from (key for part in given if isinstance(part, ast.Dict) for key in part.keys if key is not None)


def own_keys(source: str) -> list[str]:
    found = (key for node in ast.walk(ast.parse(source)) for key in keys_of(node))
    return [ast.unparse(key) for key in found if is_literal(key)]


@pytest.mark.parametrize("path", sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "pages").glob("*.py")]), ids=str)
def test_keys_are_named_in_one_file(path: Path) -> None:
    if path != ROOT / "app" / "ui" / "session.py":
        assert not own_keys(path.read_text("utf-8")), "name it in app/ui/session.py"


@pytest.mark.parametrize(
    "source",
    [
        'st.session_state["a"] = 1',
        'st.session_state.get("a", 0)',
        "st.session_state.a",
        'state = st.session_state\nstate.pop(f"a_{n}")',
        '"a" in st.session_state',
        'st.session_state.update({"a": 1})',
        'st.query_params["a"]',
        'st.text_input("A", key="a")',
        'A = "a"\nrow.toggle("A", key=A)',
    ],
)
def test_keys_of_its_own_are_found(source: str) -> None:
    assert own_keys(source)


def test_no_two_keys_are_the_same() -> None:
    names = [name for name, value in vars(session).items() if name.strip("_").isupper() and isinstance(value, str)]
    assert len({getattr(session, name) for name in names}) == len(names)


def test_values_from_a_link_are_brought_into_range() -> None:
    assert session.clamped(999, 1, 256) == 256
    assert session.clamped(None, 1, 256) == 1
    assert session.clamped("3", 1, 9) == 3


def test_a_result_is_taken_up_by_the_next_run_when_the_first_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit breaks a run off at any touch of the session's state, as soon as the browser asks for another."""
    state: dict[str, object] = {session.WRITE_JOB: SimpleNamespace(result="a text")}
    monkeypatch.setattr(session.st, "session_state", state)
    with suppress(RuntimeError), session.new_result(session.WRITE_JOB) as result:
        assert result == "a text"
        raise RuntimeError("broken off")
    taken = []
    for _ in range(2):
        with session.new_result(session.WRITE_JOB) as result:
            taken.append(result)
    assert taken == ["a text", None]
