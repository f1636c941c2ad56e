"""Guards the house's arrows: pages → app → spd_core, and engine files import only files above them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

ORDER = [
    *("errors", "team", "storage", "builtin", "families", "memory", "models", "weights", "packing", "capability"),
    *("spans", "tasks", "tables", "importing", "provenance", "ranks", "analysis", "captures", "token_tables", "rows"),
    *("gradients", "spectrum", "nulls", "subspace", "sampling", "lane_specs", "row_files", "events", "recipes"),
    *("plans", "adapter_cards", "evaluation_recipes", "run_records", "texts", "differences", "report"),
    *("corpus_files", "study", "adapters", "projection", "generation", "reading", "comparison", "attribution"),
    *("causal", "arm_subspaces", "corpus", "distill", "stages", "arms", "run_files", "processes", "runs"),
    *("costs", "job", "plain", "isolation", "trial", "sandbox", "written_code", "scoring", "evaluation_files"),
    *("subjects", "evaluation", "paper"),
    *("significance", "claims", "evaluation_table", "evaluation_report", "table_runs", "evaluation_costs", "console"),
    *("run_commands", "table_commands", "harness_tasks", "harness", "harness_commands", "export", "demo", "__main__"),
]
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
    files = sorted((ROOT / room).glob("*.py"))
    assert files
    for path in files:
        reached = {name.split(".")[0] for name in imported(path)}
        assert not reached & FORBIDDEN[room], f"{path.name} imports {reached & FORBIDDEN[room]}"


def test_engine_files_import_only_files_above() -> None:
    for path in sorted((ROOT / "spd_core").glob("*.py")):
        if path.stem == "__init__":
            assert not imported(path)
            continue
        own = ORDER.index(path.stem)
        used = {name.split(".")[1] for name in imported(path) if name.startswith("spd_core.")}
        below = [name for name in used if name in ORDER and ORDER.index(name) >= own]
        assert not below, f"{path.name} imports {below}"


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
