"""The wheel works by itself: every package and asset is in it, and it needs nothing of the folder it was built in."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import ROOT

BUILT_FROM = ("pyproject.toml", "setup.py", "LICENSE", "spd_core", "app", "assets")


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no `build` folder is left here or taken from here; needs no network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(target), str(source))
    (found,) = target.glob("*.whl")
    return found


def files(folder: str) -> set[str]:
    """Paths of the files below a folder of the repository."""
    paths = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}


def test_every_package_and_asset_is_in_it(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assets = {f"spd_core/{name}" for name in files("assets") if not name.startswith("assets/screenshots/")}
    assert len(assets) > 20
    assert any(re.fullmatch(r"spd_core/assets/demo/runs/.*/cells/spd--42--arithmetic\.jsonl", name) for name in held)
    assert held == files("spd_core") | files("app") | assets


def test_it_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(site), str(wheel))
    own = {"PYTHONPATH": str(site), "SPD_HOME": str(tmp_path / "home")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPD_")} | own
    code = (
        "import json, spd_core.storage as s, spd_core.templates as t;"
        "print(json.dumps([s.__file__, t.render('table.html', label='l', names=['a'], rows=[['<b>']], compact=False)]))"
    )
    for words in (["-c", code], ["-m", "spd_core", "models", "--json"]):
        done = subprocess.run(
            [sys.executable, *words], cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        if words[0] == "-c":
            assert Path(found[0]).is_relative_to(site), "not what lies in the repository"
            assert "&lt;b&gt;</td>" in found[1]
        else:
            names = {path.stem for path in (ROOT / "assets" / "capabilities").glob("*.jsonl")}
            assert names <= set(found["capabilities"])
