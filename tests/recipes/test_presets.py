"""A recipe as a file says it: what differs from its preset, and the same recipe when it is read again."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spd_core.errors import InputError
from spd_core.recipes.distill import ARMS, REASONS, Recipe, Target, recipe_from
from spd_core.recipes.evaluation import NAMED, EvaluationRecipe, evaluation_from
from spd_core.recipes.presets import PRESETS, PRESETS_DO, differing, settings_in

COUNTS = st.integers(1, 10**6)
POSITIVE = st.floats(1e-9, 1e3)
CAPTURES = st.fixed_dictionaries(  # what a contrast leaves out is always named: one may be among the arms
    {"without": st.sampled_from([["mmlu"], ["./b.jsonl", "mmlu"]])},
    optional={"layers": st.sampled_from(["middle,last", "all", "3,7"]), "rank": st.sampled_from(["half", "5"]),
                  "examples": st.none() | COUNTS, "center": st.booleans(), "strength": st.floats(0, 1)},
)  # fmt: skip
CORPORA = st.fixed_dictionaries(
    {}, optional={"prompts": st.none() | st.integers(17, 500), "held_out": st.integers(0, 8), "samples": COUNTS,
                  "temperature": st.none() | st.floats(0, 3), "top_k": st.none() | st.integers(0, 99),
                  "drop": st.lists(st.sampled_from(REASONS), unique=True)},
)  # fmt: skip
TRAININGS = st.fixed_dictionaries(
    {}, optional={"lora_r": COUNTS, "learning_rate": POSITIVE, "epochs": COUNTS, "weight_decay": st.floats(0, 1),
                  "lora_targets": st.lists(st.sampled_from(get_args(Target)), unique=True, min_size=1)},
)  # fmt: skip
CHUNKS = st.fixed_dictionaries(  # one arm asks another model
    {"teacher": st.sampled_from(["builtin", "./teacher"])},
    optional={"chunks": COUNTS, "chunk_tokens": st.integers(1, 24), "samples": COUNTS, "prior": st.floats(0, 9),
              "select": st.sampled_from(["entropy", "random"]), "accept_short": st.booleans()},
)  # fmt: skip
SHARED: dict[str, Any] = {
    "preset": st.sampled_from(sorted(PRESETS)),
    "capability": st.sampled_from(["arithmetic", "gsm8k", "./own file.jsonl"]),
    "capture": CAPTURES,
    "omniopd": CHUNKS,
}  # fmt: skip
ROLLOUTS = st.fixed_dictionaries({}, optional={"temperature": POSITIVE, "divergence": st.floats(0, 1)})
GROUPS: dict[str, Any] = {"corpus": CORPORA, "train": TRAININGS, "rollout": ROLLOUTS, "rounds": st.integers(1, 3)}
RECIPES = st.fixed_dictionaries(
    SHARED,
    optional={**GROUPS, "arms": st.lists(st.sampled_from(list(ARMS)), unique=True, min_size=1), "drift": st.booleans(),
              "revision": st.none() | st.just("v1"), "dtype": st.sampled_from(["auto", "float32"])},
)  # fmt: skip
OTHERS = [
    {"kind": "projected", "of": "random", "rank": "4", "strength": 0.5, "label": "Weak"}, "run-1/spd",
    {"kind": "checkpoint", "model": "/x/folded"},
    {"kind": "projected", "capture": "c", "layers": [3], "kinds": ["key"]},
]  # fmt: skip
SUBJECTS = st.lists(st.sampled_from([*list(NAMED)[1:], *OTHERS]), unique_by=str).map(lambda some: ["base", *some])
EVALUATIONS = st.fixed_dictionaries(
    SHARED,
    optional={**GROUPS, "seeds": st.lists(st.integers(0, 99), unique=True, min_size=1), "allow_code": st.booleans(),
              "subjects": SUBJECTS,
              "sets": st.sampled_from([["arithmetic"], [{"capability": "gsm8k", "limit": 9}, "multiple-choice"]])},
)  # fmt: skip


@given(RECIPES)
@settings(max_examples=80, deadline=None)
def test_a_recipe_is_the_same_when_it_is_read_again(asked: dict[str, Any]) -> None:
    recipe = recipe_from(asked)
    file = json.dumps(differing(recipe))
    assert recipe_from(settings_in(file)) == recipe


@given(EVALUATIONS)
@settings(max_examples=80, deadline=None)
def test_an_evaluation_is_the_same_when_it_is_read_again(asked: dict[str, Any]) -> None:
    recipe = evaluation_from(asked)
    file = json.dumps(differing(recipe))
    assert evaluation_from(settings_in(file)) == recipe


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_said_by_its_name_alone(name: str) -> None:
    asked = {"preset": name, "capability": "arithmetic"}
    assert differing(recipe_from(asked)) == asked
    assert differing(evaluation_from(asked)) == asked


def test_only_what_differs_is_said_over_the_nearest_preset() -> None:
    quick = {"preset": "quick", "capability": "arithmetic"}
    assert differing(recipe_from({**quick, "train": {"epochs": 9}})) == {**quick, "train": {"epochs": 9}}
    by_hand = {name: {key: value} for name, group in PRESETS["quick"].items() for key, value in list(group.items())[:1]}
    assert differing(recipe_from({"capability": "arithmetic", **by_hand}))["preset"] in PRESETS
    every = {name: dict(group) for name, group in PRESETS["quick"].items()}
    assert differing(recipe_from({"capability": "arithmetic", **every})) == quick, "it amounts to quick"
    undone = {**quick, "capture": {"examples": None}}
    assert differing(recipe_from(undone)) == undone, "nothing, too, can differ"


def test_subjects_and_sets_are_said_by_their_names() -> None:
    asked = {"preset": "quick", "capability": "arithmetic", "subjects": ["base", "spd", "complement"],
             "sets": ["arithmetic", {"capability": "multiple-choice", "limit": 60}]}  # fmt: skip
    assert differing(evaluation_from(asked)) == asked


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused_as_json(word: str) -> None:
    with pytest.raises(ValueError, match=f"{word} is no number that a setting can have"):
        settings_in(f'{{"train": {{"learning_rate": {word}}}}}')


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "Infinity", 1e999])
def test_what_is_no_number_is_refused_as_a_setting(value: Any) -> None:
    for make in (recipe_from, evaluation_from):
        with pytest.raises(InputError, match="train.learning_rate: Input should be"):
            make({"capability": "arithmetic", "train": {"learning_rate": value}})
    with pytest.raises(ValueError, match="finite number"):
        Recipe.model_validate({"capability": "x", "corpus": {"temperature": value}})
    with pytest.raises(ValueError, match="finite number"):
        EvaluationRecipe.model_validate({"capture": {"strength": value}})


def test_presets_stand_from_the_smallest_to_the_largest_and_say_what_they_do() -> None:
    made = [recipe_from({"preset": name, "capability": "arithmetic"}) for name in PRESETS]
    prompts = [recipe.corpus.prompts or 240 for recipe in made]  # arithmetic has 240
    assert prompts == sorted(prompts)
    assert [recipe.train.epochs for recipe in made] == sorted(recipe.train.epochs for recipe in made)
    assert PRESETS_DO.keys() == PRESETS.keys()
    assert len(set(PRESETS_DO.values())) == len(PRESETS)
