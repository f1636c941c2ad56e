"""Arms that learn on what they write, in runs: what is captured, written and trained, and what is looked at before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.distill.audits import AUDITS, read_audits
from spd_core.distill.pipeline import carry_out
from spd_core.distill.trained import what_decides
from spd_core.errors import InputError, ModelError, WriterError
from spd_core.evaluation.preflight import check
from spd_core.intervention.cards import read_card
from spd_core.recipes.distill import ARMS, Recipe, plan, recipe_from
from spd_core.recipes.on_policy import PUBLISHED_CHUNKS, ChunkSettings, away_from_the_paper
from spd_core.runs.costs import cost_of
from spd_core.runs.events import AnyEvent, RolloutsLooked, StageBegun

CHUNKS = {"chunks": 2, "chunk_tokens": 2, "samples": 3, "accept_short": True}
ON_POLICY = [arm for arm in ARMS if not Recipe.writes(arm)]


@pytest.fixture
def asked(counting: Path, family_folder: Callable[[str], Path]) -> Callable[..., Recipe]:
    """A recipe of arms that learn on what they write, on a tiny model; another one is the teacher."""

    def made(*arms: str, **changes: Any) -> Recipe:
        settings: dict[str, Any] = {
            "capability": str(counting), "model": str(family_folder("llama")), "dtype": "float32", "arms": arms,
            "capture": {"examples": None}, "drift": False,
            "corpus": {"held_out": 2, "max_new_tokens": 6, "batch_size": 3},
            "train": {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "completions": 0},
            "omniopd": {**CHUNKS, "teacher": str(family_folder("qwen2"))},
        }  # fmt: skip
        for name, value in changes.items():
            settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value
        return recipe_from(settings)

    return made


def test_the_plan_is_what_a_run_does(asked: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = asked("psr", *ON_POLICY)
    told: list[AnyEvent] = []
    assert carry_out(recipe, tmp_path, tell=told.append) == "done"
    begun = [(one.stage, one.arm, one.round) for one in told if isinstance(one, StageBegun) and one.stage != "load"]
    assert begun == plan(recipe)
    assert begun == [
        ("corpus", "psr", 1), ("train", "psr", 1), ("capture", "", 1), *(("train", arm, 1) for arm in ON_POLICY),
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "corpora").glob("*.jsonl")] == ["psr-round-1.jsonl"]
    for arm in ON_POLICY:
        card = read_card(tmp_path / "adapters" / arm)
        assert (card.arm, card.rows, card.steps, card.finished) == (arm, 8, 2, True)
        assert card.trained == 8
        assert 8 <= (card.written or 0) <= 8 * 6
        assert bool(card.subspace) == (ARMS[arm].subspace != "none")
    audited = [arm for arm in ON_POLICY if ARMS[arm].method == "omniopd"]
    assert [one.arm for one in told if isinstance(one, RolloutsLooked)] == audited
    for arm in audited:
        audits = read_audits(tmp_path / "arms" / arm / "round-1" / AUDITS)
        assert {one.step for one in audits} == {1, 2}
        assert len(audits) == 8, "every prompt once in an epoch"
        card = read_card(tmp_path / "adapters" / arm)
        assert card.written == sum(len(one.tokens) for one in audits)
        chunks = sum(len(one.chunks) for one in audits)
        assert card.taught is not None
        assert 0 < card.taught <= chunks * 3 * 2, "at most so many tokens were asked for"
        assert "train 9" not in {one.prompt.strip() for one in audits}, "a held-out prompt"


def test_too_short_rollouts_are_refused_with_what_to_do(asked: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = asked("omniopd-raw", omniopd={"accept_short": False, "chunk_tokens": 6})
    model = Path(recipe.model)
    with pytest.raises(InputError, match=r"of 8 rollouts are at least 6 tokens long.*accept_short"):
        carry_out(_ending_at_once(recipe, model, tmp_path / "model"), tmp_path / "run")


def _ending_at_once(recipe: Recipe, model: Path, copy: Path) -> Recipe:
    """The same on a model that takes half of all tokens for the end."""
    import shutil

    shutil.copytree(model, copy)
    file = copy / "generation_config.json"
    vocabulary = json.loads((copy / "config.json").read_text())["vocab_size"]
    settings = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**settings, "eos_token_id": list(range(0, vocabulary, 2))}))
    return recipe.model_copy(update={"model": str(copy)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"omniopd": {"teacher": ""}}, "omniopd-model needs a teacher"),
        ({"omniopd": {"chunk_tokens": 7}}, "chunk_tokens 7 is more than a rollout can have"),
        ({"train": {"patience": 1}}, "has no held-out loss"),
        ({"omniopd": {"server": {"kind": "openai", "url": "http://127.0.0.1:9", "served_name": "x"}}}, "one of them"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked: Callable[..., Recipe], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asked("omniopd-model", **changes)


def test_a_teacher_is_looked_for_before_the_run(asked: Callable[..., Recipe], tmp_path: Path) -> None:
    check(asked("omniopd-model"))
    with pytest.raises(ModelError, match=r"omniopd.teacher .*nowhere"):
        check(asked("omniopd-model", omniopd={"teacher": str(tmp_path / "nowhere")}))
    unreachable = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "served_name": "x"}
    with pytest.raises(WriterError, match="127.0.0.1:9"):
        check(asked("omniopd-model", omniopd={"teacher": "", "server": unreachable}))
    check(asked("omniopd", omniopd={"teacher": str(tmp_path / "nowhere")}))


def test_what_decides_an_arm_is_all_that_it_learns_from(asked: Callable[..., Recipe]) -> None:
    def decides(arm: Any, **changes: Any) -> dict[str, Any]:
        return what_decides(asked(*ON_POLICY, "psr", **changes), arm, {})

    others: list[dict[str, Any]] = [{"omniopd": {name: 1}} for name in ("chunks", "chunk_tokens", "samples", "anchor")]
    for change in [*others, {"rollout": {"temperature": 0.5}}]:
        assert decides("omniopd", **change) != decides("omniopd")
        assert decides("psr", **change) == decides("psr")
    assert decides("on-policy", omniopd={"samples": 9}) == decides("on-policy")
    assert decides("on-policy", rollout={"divergence": 0.5}) != decides("on-policy")
    for arm in ("on-policy", "omniopd"):
        assert decides(arm, rollout={"max_tokens": 90}) != decides(arm)
    assert decides("omniopd", omniopd={"teacher": "builtin"}) == decides("omniopd")
    started = {"corpus": {"writer": {"kind": "vllm"}}}
    served = {"corpus": {"writer": {"kind": "openai", "url": "http://127.0.0.1:8000/v1", "served_name": "base"}}}
    for arm in ON_POLICY:
        assert decides(arm, **started) != decides(arm), "it writes the rollouts"
        asks = arm in ("omniopd", "omniopd-raw", "omniopd-random")
        assert (decides(arm, **served) != decides(arm)) == asks, "the others' teachers write nothing by it"
    assert decides("omniopd-model", omniopd={"teacher": "builtin"}) != decides("omniopd-model")


def test_costs_by_hand(asked: Callable[..., Recipe]) -> None:
    recipe = asked("psr", "on-policy", "omniopd", "omniopd-raw", corpus={"max_new_tokens": 9}, train={"epochs": 3})
    cost = cost_of(recipe, prompts=10, prompt_tokens=5.0, examples=6, rates=None, card=None)
    # 10 prompts, 2 of them held out: 8 × 3 epochs of 9 tokens in three arms; 2 chunks × 3 texts × 2 tokens in two
    assert (cost.corpus_tokens, cost.rollout_tokens, cost.teacher_tokens) == (90, 3 * 24 * 9, 2 * 24 * 2 * 3 * 2)


def test_costs_of_a_training_that_ends_by_its_tokens(asked: Callable[..., Recipe]) -> None:
    changes: dict[str, Any] = {"corpus": {"max_new_tokens": 9}, "train": {"epochs": 3}}
    sizes: dict[str, Any] = {"prompts": 10, "prompt_tokens": 5.0, "examples": 6, "rates": None, "card": None}
    recipe = asked("on-policy", "omniopd", rollout={"max_tokens": 90}, **changes)
    cost = cost_of(recipe, **sizes)
    # on-policy: 90 and a step of 4 rows of 9; OmniOPD: 90 and 4 rows of 9 + 2 × 3 × 2, of which 9 in 21 are its own
    assert cost.rollout_tokens == (90 + 36) + (90 + 84) * 9 // 21
    assert cost.teacher_tokens == (90 + 84) * 12 // 21
    far = cost_of(asked("on-policy", "omniopd", rollout={"max_tokens": 10**6}, **changes), **sizes)
    assert far == cost_of(asked("on-policy", "omniopd", **changes), **sizes)


def test_what_is_not_published_is_said_with_what_the_paper_reports() -> None:
    assert away_from_the_paper(ChunkSettings()) == []
    assert ChunkSettings().model_dump(include=set(PUBLISHED_CHUNKS)) == {
        "chunks": 10,
        "chunk_tokens": 50,
        "samples": 10,
    }
    (said,) = away_from_the_paper(ChunkSettings(chunk_tokens=25))
    assert "24.48" in said
    (said,) = away_from_the_paper(ChunkSettings(anchor=0))
    assert "8.28" in said
