"""`SECURITY.md` names a test for each thing that it says is done."""

import ast
import re

import pytest

from spd_core.storage import ROOT

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_line_names_its_test() -> None:
    lines = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
    assert lines
    assert [line for line in lines if not PROOF.search(line)] == []


@pytest.mark.parametrize(("file", "name"), sorted(set(PROOF.findall(PAGE))))
def test_each_test_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
