"""A recipe says what is done, and a wrong one says which setting is wrong."""

import json
from pathlib import Path

import pytest

from spd_core.errors import InputError
from spd_core.recipes.distill import ARMS, Recipe, read_recipe, recipe_from
from spd_core.recipes.presets import differing


def test_the_defaults_are_the_paper_s() -> None:
    recipe = Recipe(capability="arithmetic")
    train = recipe.train
    assert (train.lora_r, train.lora_alpha, train.lora_dropout) == (8, 8, 0.05)
    assert (train.learning_rate, train.weight_decay, train.epochs, train.seed) == (1e-5, 0.01, 5, 42)
    assert train.loss_on == "prompt_and_completion"
    assert (recipe.capture.rank, recipe.capture.strength, recipe.corpus.samples) == ("half", 1.0, 1)


def test_the_preset_quick_is_minutes_and_no_more() -> None:
    recipe = recipe_from({"preset": "quick", "capability": "arithmetic"})
    assert (recipe.arms, recipe.rounds, recipe.drift) == (("psr", "ssd", "spd"), 1, True)
    assert (recipe.capture.examples, recipe.train.epochs, recipe.train.learning_rate) == (30, 2, 2e-4)
    assert (recipe.corpus.prompts, recipe.corpus.held_out, recipe.corpus.max_new_tokens) == (48, 8, 24)
    paper = recipe_from({"preset": "paper", "capability": "arithmetic"})
    assert recipe.train == paper.train.model_copy(update={"epochs": 2, "learning_rate": 2e-4}), (
        "the rest is the paper's"
    )


@pytest.mark.parametrize(
    ("arm", "temperature", "top_p", "top_k", "projected"),
    [
        ("psr", 0.7, 1.0, 0, False), ("ssd", 0.7, 0.9, 0, False), ("apple", 1.6, 0.8, 20, False),
        ("spd", 0.7, 0.9, 0, True), ("random", 0.7, 0.9, 0, True), ("full", 0.7, 0.9, 0, True),
        ("shuffled", 0.7, 0.9, 0, True),
    ],
)  # fmt: skip
def test_arms_sample_as_the_method_says(
    arm: str, temperature: float, top_p: float, top_k: int, projected: bool
) -> None:
    sampling = Recipe(capability="arithmetic", arms=(arm,), seed=7).sampling(arm)
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (temperature, top_p, top_k)
    assert (sampling.max_new_tokens, sampling.seed) == (256, 7)
    assert (ARMS[arm].subspace != "none") == projected


def test_a_contrast_names_what_it_leaves_out(tmp_path: Path) -> None:
    own = {"preset": "quick", "capability": "arithmetic", "arms": ["contrast"]}
    recipe = recipe_from({**own, "capture": {"without": ["multiple-choice"]}})
    assert recipe.lane("contrast").of == "contrast"
    assert recipe_from(differing(recipe)) == recipe
    assert differing(recipe)["capture"] == {"without": ["multiple-choice"]}
    plain = recipe_from({**own, "arms": ["spd"]})
    assert "without" not in plain.model_dump_json(), "files of before say nothing of it"
    for without in ([], ["arithmetic"], ["multiple-choice", "multiple-choice"]):
        with pytest.raises(InputError, match="capture.without"):
            recipe_from({**own, "capture": {"without": without}})


def test_a_recipe_is_read_as_it_was_written(tmp_path: Path) -> None:
    recipe = Recipe(capability="arithmetic", arms=("spd",), rounds=2)
    (tmp_path / "r.json").write_text(recipe.model_dump_json())
    assert read_recipe(tmp_path / "r.json") == recipe


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": {"epoch": 3}}, "train.epoch: Extra inputs are not permitted .given: 3."),
        ({"train": {"epochs": 0}}, "train.epochs: Input should be greater than or equal to 1"),
        ({"arms": ["best"]}, "arms.0: Input should be"),
        ({"arms": []}, "name at least one, each once; there are psr, ssd"),
        ({"arms": ["spd", "spd"]}, "name at least one, each once"),
        ({"capability": ""}, "capability: String should have at least 1 character"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"capability": "arithmetic", **change}))
    with pytest.raises(InputError, match=said):
        read_recipe(path)


def test_a_file_that_is_no_json_or_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_recipe(tmp_path / "none.json")
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_recipe(tmp_path / "r.json")
