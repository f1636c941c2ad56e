"""What opens at once loads no torch. The arrows between packages are import-linter's, in `pyproject.toml`."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

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
    """`app.warming` names modules in strings, which no import and no linter follows."""
    from app import warming

    for name in warming.HOME + warming.OTHER_PAGES:
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
        "spd_core.runs.states",
        "spd_core.runs.queue",
        "spd_core.runs.job",
    ],
)
def test_importing_does_not_load_torch(module: str) -> None:
    check = f"import {module}, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


# --- names, map and places -----------------------------------------------------------------------------------------


def public_names(tree: str) -> dict[str, list[str]]:
    """Where each public class and function of a tree is defined; type aliases, too."""
    found: dict[str, list[str]] = {}
    for path in (ROOT / tree).rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
                names = [ast.unparse(node.target)]
            for name in names:
                if not name.startswith("_"):
                    found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("tree", ["spd_core", "app"])
def test_no_public_name_has_two_homes(tree: str) -> None:
    """`main` is where a process begins; a `panel` draws the part of a page that its module is about."""
    twice = {name: places for name, places in public_names(tree).items() if len(places) > 1}
    assert {name: places for name, places in twice.items() if name not in ("main", "panel")} == {}


def test_no_class_of_the_app_is_called_as_one_of_the_engine() -> None:
    ours, theirs = ({name for name in public_names(tree) if name[0].isupper()} for tree in ("app", "spd_core"))
    assert ours & theirs == set()


def sentence(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""


@pytest.mark.parametrize("tree", ["spd_core", "app"])
def test_the_map_in_the_readme_is_that_of_the_packages(tree: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme[readme.index(f"| `{tree}/` | |") :].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)/` \| (.+) \|$", section, re.M))
    packages = {path.parent.name: path.parent for path in (ROOT / tree).glob("*/__init__.py")}
    assert rows == {name: sentence(package) for name, package in packages.items()}


def test_a_package_says_one_sentence_and_does_nothing() -> None:
    """But for the three that pass on the names that programs exported earlier look for."""
    for package in (path.parent for tree in ("spd_core", "app") for path in (ROOT / tree).glob("*/__init__.py")):
        body = ast.parse((package / "__init__.py").read_text("utf-8")).body
        assert sentence(package).count("\n") == 0, package
        assert len(body) == 1 or package.name in ("generation", "models", "subspace"), package


def test_files_that_the_documents_name_are_there() -> None:
    named = re.compile(r"`((?:spd_core|app|pages|tests|assets|docs)/[\w/]+\.\w+)`")
    bare = re.compile(r"`(\w+/\w+\.py)`")
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = path.read_text("utf-8")
        for name in named.findall(text):
            assert (ROOT / name).is_file(), f"{path.name} names {name}"
        for name in bare.findall(text):
            assert any((ROOT / top / name).is_file() for top in ("", "spd_core")), f"{path.name} names {name}"
    answers = re.findall(r"^\| \d+ \| .* \| `(.*)` \|$", (ROOT / "docs" / "where-do-i-change.md").read_text(), re.M)
    assert len(answers) == 12


def test_the_public_face_is_there() -> None:
    import spd_core

    for name in spd_core.FACE:
        assert getattr(spd_core, name) is not None
    assert set(spd_core.FACE) <= set(dir(spd_core))
    with pytest.raises(AttributeError, match="offers .*subspace_of"):
        spd_core.nothing  # noqa: B018


def test_modules_of_programs_exported_earlier_lead_to_the_face() -> None:
    program = (
        "from spd_core.adapter_cards import adapter_folder\nfrom spd_core.adapters import load_adapter\n"
        "from spd_core.captures import open_capture\nfrom spd_core.comparison import ROWS\n"
        "from spd_core.generation import generate\nfrom spd_core.models import load\n"
        "from spd_core.projection import Lane\nfrom spd_core.sampling import Sampling\n"
        "from spd_core.subspace import random_subspace, subspace_of\n"
        "import spd_core\nassert spd_core.generate is generate and ROWS == 8"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
