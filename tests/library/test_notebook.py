"""The notebook of a bundle runs from top to bottom where the bundle was unpacked, and says nothing of this machine."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from spd_core.errors import InputError
from spd_core.library.bundle import write_bundle
from spd_core.library.incoming import check_bundle, import_bundle
from spd_core.library.replay import replay
from spd_core.library.things import Ref
from tests import ROOT
from tests.library.test_hostile import entry, packed
from tests.library.test_replay import CAPTURED, captured  # noqa: F401 - a fixture
from tests.library.test_shelf import TEXT

pytestmark = pytest.mark.slow


def test_it_runs_from_top_to_bottom_in_another_clone(
    captured: Path, second_home: Path, family_folder: Callable[[str], Path], tmp_path: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bundle = write_bundle([CAPTURED], tmp_path / "a.zip")
    place = tmp_path / "unpacked"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(place)
    text = (place / "notebook.ipynb").read_text()
    for place_here in (tmp_path, ROOT, Path.home()):
        assert str(place_here) not in text
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)

    monkeypatch.setenv("SPD_HOME", str(second_home))
    monkeypatch.setenv("SPD_MODEL", str(family_folder("llama")))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}}).execute(env=os.environ)
    code = [cell for cell in done.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    printed = "".join(out.get("text", "") for out in code[-1].outputs)
    assert printed.startswith("--- raw\n")
    assert "--- projected\n" in printed
    again = next(cell for cell in code if "again = capture" in cell.source)
    assert "layer 2 value" in again.outputs[-1].data["text/plain"]

    report = replay(bundle, model=str(family_folder("llama")))
    assert report.count("differs") == report.count("not replayed") == 0


def test_an_import_neither_keeps_nor_runs_it(
    captured: Path, second_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    bundle = write_bundle([CAPTURED], tmp_path / "a.zip")
    assert check_bundle(bundle).manifest.notebook is not None
    assert check_bundle(write_bundle([Ref("capability", "doubles")], tmp_path / "b.zip")).manifest.notebook is None
    monkeypatch.setenv("SPD_HOME", str(second_home))
    import_bundle(bundle)
    assert list(second_home.rglob("*.ipynb")) == []


def test_another_notebook_than_the_manifest_says_is_refused(captured: Path, home: Path, tmp_path: Path) -> None:  # noqa: F811
    with zipfile.ZipFile(write_bundle([CAPTURED, Ref("text", TEXT)], tmp_path / "a.zip")) as found:
        entries = [(one, found.read(one)) for one in found.infolist()]
    size = next(len(data) for one, data in entries if one.filename == "notebook.ipynb")
    other = [(one, b" " * size if one.filename == "notebook.ipynb" else data) for one, data in entries]
    with pytest.raises(InputError, match="notebook.ipynb' is not what its manifest.json says"):
        check_bundle(packed(other))
    manifest = json.loads(next(data for one, data in entries if one.filename == "manifest.json"))
    del manifest["notebook"]
    unlisted = [(one, data) for one, data in entries if one.filename != "manifest.json"]
    with pytest.raises(InputError, match="notebook.ipynb' is in it, and not in its"):
        check_bundle(packed([*unlisted, (entry("manifest.json"), json.dumps(manifest).encode())]))
