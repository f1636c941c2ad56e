"""Every library that is imported is pinned, at the version that is installed here."""

import ast
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from tests import ROOT

OWN = {"spd_core", "app", "pages", "tests", "benchmarks"}


def pins(name: str) -> dict[str, str]:
    """Distribution → version in a requirements file and those it includes."""
    found: dict[str, str] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if line.startswith("-r "):
            found |= pins(line.removeprefix("-r ").strip())
        elif line and not line.startswith("#"):
            library, _, version = line.partition("==")
            found[canonical(library)] = version
    return found


def canonical(library: str) -> str:
    """A name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", library).lower()


def libraries(*folders: str) -> dict[str, set[Path]]:
    """Top-level modules of others that are imported below these folders → the files that do."""
    found: dict[str, set[Path]] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for module in modules(ast.parse(path.read_text("utf-8"))):
            if module not in sys.stdlib_module_names and module not in OWN:
                found.setdefault(module, set()).add(path.relative_to(ROOT))
    return found


def modules(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@cache
def distributions() -> dict[str, set[str]]:
    return {module: set(map(canonical, names)) for module, names in metadata.packages_distributions().items()}


def unpinned(imported: dict[str, set[Path]], pinned: dict[str, str]) -> dict[str, set[Path]]:
    return {module: files for module, files in imported.items()
            if not distributions().get(module, {canonical(module)}) & set(pinned)}  # fmt: skip


@pytest.mark.parametrize(
    ("folders", "file"),
    [(("spd_core", "app", "pages"), "requirements-eval.txt"), (("tests", "benchmarks"), "requirements-dev.txt")],
)
def test_every_imported_library_is_pinned(folders: tuple[str, ...], file: str) -> None:
    imported = libraries(*folders)
    assert len(imported) > 10
    assert not unpinned(imported, pins(file))


def test_the_app_needs_no_more_than_its_own_requirements() -> None:
    imported = {module: {path for path in files if not path.name.startswith("harness")}
                for module, files in libraries("spd_core", "app", "pages").items()}  # fmt: skip
    assert not unpinned({module: files for module, files in imported.items() if files}, pins("requirements.txt"))


def test_pins_are_exact_and_what_is_installed() -> None:
    for library, version in pins("requirements-dev.txt").items():
        assert metadata.version(library).partition("+")[0] == version, library


def test_an_unpinned_library_is_found(tmp_path: Path) -> None:
    tree = ast.parse("if 1:\n    import yaml.nodes as y\nfrom PIL import Image\nfrom . import os\nimport os.path")
    found = {module: {tmp_path} for module in modules(tree) if module != "os"}
    assert set(unpinned(found, {"pyyaml": "6"})) == {"PIL"}
    assert set(unpinned({"nowhere_known": {tmp_path}}, {"pyyaml": "6"})) == {"nowhere_known"}
