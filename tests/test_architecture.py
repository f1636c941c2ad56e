"""What opens at once loads no torch. The arrows between packages are import-linter's, in `pyproject.toml`."""

import ast
import importlib
import subprocess
import sys

import pytest

from tests import ROOT

HEAVY = ("torch", "transformers", "peft", "pandas", "scipy")
"""What a page may import only once it is drawn, or on a thread."""
PAGES = sorted(path.name for path in (ROOT / "pages").glob("*.py"))


def loaded_by(program: str) -> list[str]:
    """Which of the heavy modules are there when a program has run."""
    program += f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("name", PAGES)
def test_the_first_paint_of_a_page_loads_nothing_heavy(name: str) -> None:
    """What a page imports at module level, before it draws anything."""
    tree = ast.parse((ROOT / "pages" / name).read_text("utf-8"))
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert any(" app." in line for line in imports)
    assert loaded_by("\n".join(imports)) == []


def test_the_script_of_every_visit_loads_nothing_heavy() -> None:
    tree = ast.parse((ROOT / "app" / "navigation.py").read_text("utf-8"))
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert loaded_by("\n".join(imports)) == []


def test_what_the_server_imports_first_can_be_imported() -> None:
    """`app.main` names modules in strings, which no import and no linter follows."""
    from app import main

    for name in main.IMPORTED_FIRST:
        importlib.import_module(name)


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
