"""Shared fixtures: tiny models of every supported family, tiny tokenizers, and the real built-in model."""

import copy
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

# Before torch loads: threads that wait must not spin, or runs side by side on few cores slow each other tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = ROOT.parent / "shared" / "datasets"


@pytest.fixture(scope="session")
def spd_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`SPD_HOME` for the tests: the one that is set, else a temporary one."""
    before = os.environ.get("SPD_HOME")
    home = Path(before) if before else tmp_path_factory.mktemp("spd-home")
    os.environ["SPD_HOME"] = str(home)
    yield home
    if before is None:
        del os.environ["SPD_HOME"]


@pytest.fixture
def empty_history(spd_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history of its own; the converted model stays where it is."""
    from spd_core.generation import comparison

    (tmp_path / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(comparison, "RECORDED", tmp_path / "recorded")
    return tmp_path


@pytest.fixture(scope="session")
def builtin_lm(spd_home: Path) -> Any:
    """The real built-in model, float32 on the CPU."""
    from spd_core.models.loading import load

    return load("builtin", dtype="float32")


@pytest.fixture(scope="session")
def datasets_folder() -> Path:
    """Real rows of public data sets: a failure without them in CI, a skip elsewhere."""
    if not SHARED.is_dir():
        message = f"no data sets at {SHARED}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A byte-level tokenizer with one token a byte, and a chat template."""
    from tests.tiny import byte_tokenizer

    return byte_tokenizer()


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[str], Path]:
    """Folder of a tiny checkpoint of a family, by its name in `tiny.FAMILIES`."""
    from tests.tiny import tiny_model

    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            tiny_model(name).save_pretrained(made[name])
            tokenizer.save_pretrained(made[name])
        return made[name]

    return folder


@pytest.fixture(scope="session")
def tiny_lm(family_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """A loaded tiny model of a family, float32."""
    from spd_core.models.loading import load

    loaded: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in loaded:
            loaded[name] = load(str(family_folder(name)), dtype="float32")
        return loaded[name]

    return get


@pytest.fixture(scope="session")
def double_lm(tiny_lm: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same in float64, so that only the algorithm can differ and not the rounding."""

    def get(name: str) -> Any:
        lm = tiny_lm(name)
        return dataclasses.replace(lm, model=copy.deepcopy(lm.model).double())

    return get
