"""Shared fixtures: tiny models of every supported family, tiny tokenizers, and the real built-in model."""

import copy
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

# Before torch loads: threads that wait must not spin, or runs side by side on few cores slow each other tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # one thread each: the other cores have workers of their own
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background lets them ignore Ctrl+C, and what they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = ROOT.parent / "shared" / "datasets"


MARKS = {
    "browser": ("e2e/",),
    "slow": (
        "app/attributions/test_page", "app/evaluation/test_results", "app/side_by_side/test_distilled_lanes",
        "cli/test_runs", "cli/test_table", "distill/test_checkpoints", "distill/test_on_policy",
        "distill/test_pipeline", "distill/test_train",
        "evaluation/test_fill",
        "runs/test_queue", "sandbox/test_run",
    ),
}  # fmt: skip
"""Marks of whole files, by how their places begin."""

FIRST = (
    "e2e/test_app", "e2e/test_attributions", "e2e/test_fine_tune", "e2e/test_evaluation", "distill/test_pipeline",
    "sandbox/test_run", "app/side_by_side/test_page", "distill/test_train", "cli/test_runs", "evaluation/test_fill",
    "models/test_builtin", "app/home/test_page",
)  # fmt: skip
"""The files that take longest, longest first, so that workers side by side end together."""

SHARING = (
    "e2e/test_app",
    "e2e/test_attributions",
    "e2e/test_back",
    "e2e/test_geometry",
    "e2e/test_notes",
    "e2e/test_overlaps",
    "e2e/test_reload",
)
"""Files that share a server, and so a worker. Every other file is by itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its file, and bring the longest files to the front."""
    places = {item: item.path.relative_to(ROOT / "tests").with_suffix("").as_posix() for item in items}
    items.sort(key=lambda item: FIRST.index(places[item]) if places[item] in FIRST else len(FIRST))
    for item, place in places.items():
        for mark, beginnings in MARKS.items():
            if place.startswith(beginnings):
                item.add_marker(mark)
        if {"builtin_lm", "gemma_lm"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("builtin")
        item.add_marker(pytest.mark.xdist_group(SHARING[0] if place in SHARING else place))


@pytest.fixture(scope="session")
def spd_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`SPD_HOME` for the tests: empty but for the models, which all workers of a run and the home that is set share."""
    before, own = os.environ.get("SPD_HOME"), tmp_path_factory.mktemp("spd-home")
    run = tmp_path_factory.getbasetemp()
    shared = Path(before or (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run)) / "models"
    shared.mkdir(parents=True, exist_ok=True)
    (own / "models").symlink_to(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPD_HOME", str(own))
        yield own


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
def gemma_lm(spd_home: Path) -> Any:
    """Gemma 3 270M, float32 on the CPU, its terms accepted for these tests; skipped where its packages are not."""
    from spd_core.models.loading import load
    from spd_core.models.packaged import GEMMA
    from spd_core.models.terms import accept_terms, is_installed

    if not is_installed(GEMMA):
        pytest.skip(f"needs {GEMMA.title}: {GEMMA.install}")
    accept_terms(GEMMA)
    return load(GEMMA.key, dtype="float32")


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
