"""Guards the house's arrows: pages → app → spd_core, and what opens at once loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

FORBIDDEN = {
    "spd_core": {"streamlit", "plotly", "app", "pages"},
    "app": {"pages"},
    "pages": {"torch", "transformers", "plotly"},
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_keep_their_arrows(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        reached = {name.split(".")[0] for name in imported(path)}
        assert not reached & FORBIDDEN[room], f"{path.name} imports {reached & FORBIDDEN[room]}"


@pytest.mark.parametrize(
    "module",
    [
        "spd_core",
        "spd_core.data.capability",
        "spd_core.data.public",
        "spd_core.data.spans",
        "spd_core.subspace.analysis",
        "spd_core.subspace.spectrum",
        "spd_core.attribution.tables",
        "spd_core.generation.comparison",
        "spd_core.generation.report",
        "spd_core.recipes.distill",
        "spd_core.runs.events",
        "spd_core.intervention.cards",
        "spd_core.distill.corpus",
        "spd_core.runs.costs",
        "spd_core.runs.folder",
        "spd_core.runs.queue",
        "spd_core.runs.job",
    ],
)
def test_importing_does_not_load_torch(module: str) -> None:
    check = f"import {module}, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0
