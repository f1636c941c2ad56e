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


# --- the lock ------------------------------------------------------------------------------------------------------


def locked() -> dict[str, str]:
    """Distribution → version in the lock file."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    found = [re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", line) for line in lines]
    return {canonical(one[1]): one[2] for one in found if one}


def test_the_lock_agrees_with_the_requirements() -> None:
    found = locked()
    assert {name: found.get(name) for name in pins("requirements.txt")} == pins("requirements.txt")


def test_every_library_of_the_lock_has_hashes_and_none_says_where_it_is_from() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
    assert len(entries) >= len(locked()) > len(pins("requirements.txt"))
    assert [entry.split()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)] == []
    assert not re.search(r"://|--index|--extra|--find-links|/(work|home|root|tmp|opt)/", text)


def test_all_that_the_libraries_need_here_is_locked() -> None:
    """From what is installed: whatever a library of the lock requires on this machine is in the lock, too."""
    from packaging.requirements import Requirement

    found, missing = locked(), set()
    for name in found:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                missing |= {(name, canonical(need.name))} if canonical(need.name) not in found else set()
    assert missing == set()


def test_an_audit_that_reached_nobody_says_so() -> None:
    from benchmarks.audit import verdict

    skipped = {"name": "a", "skip_reason": "Dependency not found on PyPI and could not be audited: a (1)"}
    clean = {"name": "b", "version": "1", "vulns": []}
    bad = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    assert verdict({"dependencies": [clean]})[0] == 0
    code, said = verdict({"dependencies": [clean, skipped]})
    assert code == 2
    assert "NOT AUDITED: 1 of 2" in said[-1]
    code, said = verdict({"dependencies": [clean, bad]})
    assert code == 1
    assert said == ["c 1: PYSEC-1, mended in 2"]
    assert verdict({"dependencies": []})[0] == 2
