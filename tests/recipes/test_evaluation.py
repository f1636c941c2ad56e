"""Evaluations in words: names, seeds, what a configuration amounts to."""

import json
from pathlib import Path

import pytest

from spd_core.errors import InputError
from spd_core.recipes.evaluation import NAMED, Subject, evaluation_from, read_evaluation
from spd_core.recipes.sets import EvalSet, answer_length, split_of


def test_named_subjects_keep_their_names() -> None:
    assert {name: subject.name for name, subject in NAMED.items()} == {name: name for name in NAMED}


@pytest.mark.parametrize(
    ("subject", "name", "title"),
    [
        (Subject(kind="projected", capture="c1"), "projected-c1", "Projected of c1"),
        (Subject(kind="projected", of="random", rank="4"), "projected-random", "Projected, random subspace"),
        (Subject(kind="distilled", adapter="run-1/spd"), "run-1-spd", "SPD (run-1)"),
        (
            Subject(kind="distilled", adapter="20261127-212147-sums-3d1ba4c/psr"),
            "20261127-212147-sums-3d1ba4c-psr",
            "PSR (2026-11-27 21:21:47)",
        ),
        (Subject(kind="checkpoint", model="/x/My folded"), "checkpoint-My-folded", "Checkpoint My folded"),
        (Subject(label="../Odd name!"), "odd-name", "../Odd name!"),
    ],
)
def test_names_are_fit_for_files_and_titles_for_people(subject: Subject, name: str, title: str) -> None:
    assert (subject.name, subject.title) == (name, title)


def test_two_captures_are_two_subjects() -> None:
    two = [{"kind": "projected", "capture": name} for name in ("c1", "c2")]
    assert len(evaluation_from({"subjects": ["base", *two]}).subjects) == 3


def test_only_what_is_drawn_or_trained_depends_on_the_seed() -> None:
    recipe = evaluation_from(
        {"subjects": list(NAMED), "seeds": [1, 2], "capture": {"without": ["mmlu"]}, "omniopd": {"teacher": "builtin"}}
    )
    once = {subject.name for subject in recipe.subjects if recipe.seeds_of(subject) == (1,)}
    assert once == {"base", "projected", "projected-full", "projected-contrast", "complement"}


def test_arms_are_trained_with_the_evaluations_settings() -> None:
    recipe = evaluation_from({"preset": "quick", "capability": "python-functions", "subjects": ["base", "psr", "spd"]})
    trained = recipe.distillation(7)
    assert trained is not None
    assert (trained.arms, trained.capability, trained.seed, trained.train.seed) == (
        ("psr", "spd"),
        "python-functions",
        7,
        7,
    )
    assert (trained.corpus.prompts, trained.train.epochs) == (48, 2)
    assert evaluation_from({"subjects": ["base", "projected"]}).distillation(7) is None


@pytest.mark.parametrize(
    ("wanted", "scorer", "tokens"),
    [
        (EvalSet(capability="arithmetic"), "number", 32),
        (EvalSet(capability="gsm8k"), "number", 256),
        (EvalSet(capability="mbpp"), "python", 256),
        (EvalSet(capability="mmlu"), "letter", 4),
        (EvalSet(capability="gsm8k", max_new_tokens=9), "number", 9),
    ],
)
def test_answers_have_the_room_they_need(wanted: EvalSet, scorer: str, tokens: int) -> None:
    assert answer_length(wanted, scorer) == tokens  # type: ignore[arg-type]


def test_a_file_is_read_and_written_the_same(tmp_path: Path) -> None:
    recipe = evaluation_from(
        {"subjects": ["base", "spd", "r/ssd"], "sets": ["arithmetic", {"capability": "mmlu", "limit": 5}]}
    )
    path = tmp_path / "table.json"
    path.write_text(recipe.model_dump_json())
    assert read_evaluation(path) == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "a JSON list, expected an object"),
        (json.dumps({"preset": "huge"}), "unknown preset 'huge'; choose quick, visible, paper"),
        (json.dumps({"preset": []}), r"unknown preset '\[\]'"),
        (json.dumps({"preset": "x" * 5000}), "unknown preset 'x{79}…'"),
        (json.dumps({"subjects": ["x" * 5000]}), "unknown arm 'x{79}…'"),
        (json.dumps({"sets": [{"capability": "arithmetic", "limit": 0}]}), "sets.0.limit: Input should be greater"),
        (json.dumps({"subjects": "base"}), "subjects: Input should be a valid"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        read_evaluation(path)
    assert str(path) in str(refused.value)


def test_sets_and_subjects_of_one_name_are_told_apart_by_a_label() -> None:
    with pytest.raises(InputError, match="give it a label"):
        evaluation_from({"sets": ["mmlu", {"capability": "mmlu", "split": "train"}]})
    recipe = evaluation_from({"sets": ["mmlu", {"capability": "mmlu", "split": "train", "label": "mmlu, trained on"}]})
    assert [one.name for one in recipe.sets] == ["mmlu", "mmlu-trained-on"]
    labels = ["随机", "投影"]
    subjects = ["base", *({"kind": "projected", "label": label, "strength": 0.5} for label in labels)]
    assert len({one.name for one in evaluation_from({"subjects": subjects}).subjects}) == 3


@pytest.mark.parametrize("seed", [-1, 2**70, "x", 4.5])
def test_what_is_no_seed_is_refused_with_what_one_is(seed: object) -> None:
    with pytest.raises(InputError, match=rf"seeds.1: a seed is a whole number from 0 to .*given: {seed!r}"):
        evaluation_from({"seeds": [42, seed]})


def test_a_public_set_without_a_held_out_split_is_asked_on_its_training_split() -> None:
    assert split_of("codealpaca", "") == "train"
    assert split_of("gsm8k", "") == "heldout"
    assert split_of("codealpaca", "mine.jsonl") == "heldout"
