"""The arm `contrast`: what it captures, writes inside, has seen, and when it is trained anew."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spd_core.data.catalog import find_capability
from spd_core.data.seen import prompt_hash, read_seen
from spd_core.distill.checks import check_capture
from spd_core.distill.corpus import read_corpus
from spd_core.distill.pipeline import carry_out
from spd_core.distill.rounds import RoundWork
from spd_core.distill.trained import sources_of, what_decides
from spd_core.errors import InputError
from spd_core.intervention.cards import RECIPE, read_card
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.runs.costs import Rates, cost_of
from spd_core.runs.record import anchored
from spd_core.subspace import pipeline
from spd_core.subspace.pipeline import capture
from spd_core.subspace.store import load_capture


def write_set(path: Path, answers: str, word: str) -> Path:
    rows: list[dict[str, str]] = [{"capability": path.stem, "template": "Q: {prompt}", "spans": "answer"}]
    for split, n in (("calibration", 6), ("train", 6)):
        rows += [
            {"id": f"{split}{i}", "split": split, "prompt": f"{word} {split} {i}", "answer": answers.format(i)}
            for i in range(n)
        ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return write_set(folder / "sums.jsonl", "it is {}", "add"), write_set(folder / "words.jsonl", "say b{}b", "spell")


@pytest.fixture
def recipe(sets: tuple[Path, Path], family_folder: Callable[[str], Path]) -> Recipe:
    settings: dict[str, Any] = {
        "capability": str(sets[0]), "model": str(family_folder("llama")), "dtype": "float32", "drift": False,
        "arms": ["spd", "contrast"], "capture": {"examples": 5, "without": [str(sets[1])], "rank": "4"},
        "corpus": {"max_new_tokens": 6, "batch_size": 3, "drop": []}, "train": {"epochs": 1, "learning_rate": 1e-3},
    }  # fmt: skip
    return recipe_from(settings)


def test_it_writes_inside_what_the_other_capability_does_not_share(
    recipe: Recipe, sets: tuple[Path, Path], tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    assert carry_out(recipe, tmp_path, run="r") == "done"
    assert sorted(path.name for path in (tmp_path / "captures").iterdir()) == ["capability-round-1", "contrast-round-1"]
    made = load_capture(tmp_path / "captures" / "contrast-round-1")
    assert made.provenance.capability == "sums without words"
    settings = CaptureSettings(examples=5)
    own, other = (capture(tiny_lm("llama"), find_capability(str(path)), settings) for path in sets)
    for site, found in made.sites.items():  # the slow way: whitening by the inverse square root
        grams = []
        for one in (own, other):
            gram = (one.sites[site].vectors * one.sites[site].values ** 2) @ one.sites[site].vectors.T
            grams.append(gram / gram.trace())
        scale, axes = np.linalg.eigh(grams[1] + np.eye(site.d_kv) / site.d_kv)
        whitening = (axes / np.sqrt(scale)) @ axes.T
        first = np.linalg.eigh(whitening @ grams[0] @ whitening)[1][:, ::-1][:, :4]
        spanned = np.linalg.svd(whitening @ first, full_matrices=False)[0]
        np.testing.assert_allclose(found.vectors[:, :4] @ found.vectors[:, :4].T, spanned @ spanned.T, atol=1e-3)
    texts = {
        arm: [row.completion for row in read_corpus(tmp_path / "corpora" / f"{arm}-round-1.jsonl")]
        for arm in recipe.arms
    }
    assert texts["spd"] != texts["contrast"]
    adapter = tmp_path / "adapters" / "contrast"
    assert read_card(adapter).subspace not in ("", read_card(tmp_path / "adapters" / "spd").subspace)
    seen = {arm: read_seen(tmp_path / "adapters" / arm) for arm in recipe.arms}
    asked = {word: {prompt_hash(f"{word} calibration {i}") for i in range(5)} for word in ("add", "spell")}
    assert set(seen["contrast"].calibrated) == asked["add"] | asked["spell"]
    assert set(seen["spd"].calibrated) == asked["add"]
    again = json.loads((adapter / RECIPE).read_text())
    assert again["capture"]["without"] == ["words.jsonl"], "not where it lies on this machine"


def test_a_capture_that_the_run_has_is_not_made_again(
    recipe: Recipe, tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    captured: list[str] = []

    def counting(lm: Any, capability: Any, *given: Any, **named: Any) -> Any:
        captured.append(capability.name)
        return capture(lm, capability, *given, **named)

    monkeypatch.setattr(pipeline, "capture", counting)
    work = RoundWork(recipe, tmp_path)
    work.lane(tiny_lm("llama"), "spd", 1)
    work.lane(tiny_lm("llama"), "contrast", 1)
    assert captured == ["sums", "words"]
    RoundWork(recipe, tmp_path / "alone").lane(tiny_lm("llama"), "contrast", 1)
    assert captured == ["sums", "words", "sums", "words"]
    together, alone = (load_capture(at / "captures" / "contrast-round-1") for at in (tmp_path, tmp_path / "alone"))
    assert together.identity == alone.identity, "the same, however it came about"


def test_an_edited_other_capability_is_another_contrast_and_the_same_spd(
    recipe: Recipe, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    edited = write_set(tmp_path / "words.jsonl", "say c{}c", "spell")
    capture = recipe.capture.model_copy(update={"without": (str(edited),)})
    other = recipe.model_copy(update={"capture": capture})
    for arm, same in (("spd", True), ("contrast", False)):
        decided = [what_decides(one, arm, sources_of(one)) for one in (recipe, other)]  # type: ignore[arg-type]
        assert (decided[0] == decided[1]) == same


def test_it_costs_a_capture_more_for_each_that_it_leaves_out(recipe: Recipe) -> None:
    rates = Rates(capture=1.0, corpus=1.0, train=1.0, source="here")
    spd = cost_of(recipe.model_copy(update={"arms": ("spd",)}), 6, 10, 5, rates, None).captures
    assert (spd, cost_of(recipe, 6, 10, 5, rates, None).captures) == (1, 3)


def test_paths_are_whole_for_a_job_and_what_is_not_there_is_named(
    recipe: Recipe, sets: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sets[1].parent)
    near = recipe.capture.model_copy(update={"without": ("words.jsonl", "multiple-choice")})
    assert anchored(recipe.model_copy(update={"capture": near})).capture.without == (str(sets[1]), "multiple-choice")
    with pytest.raises(InputError, match="capture.without 'cooking'"):
        check_capture(CaptureSettings(without=("cooking",)), "raw", None, None)
    with pytest.raises(InputError, match="multiple-choice has examples without"):
        check_capture(
            CaptureSettings(loss="solution", without=("multiple-choice",)), "raw",
            find_capability("python-functions"), None,
        )  # fmt: skip
