"""Students whose rollouts an engine writes: by the adapter of each step, the same as here where nothing is drawn."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.distill import learning
from spd_core.distill.audits import AUDITS, read_audits
from spd_core.distill.logits import measured
from spd_core.distill.pipeline import carry_out
from spd_core.distill.served import ServedStudent
from spd_core.engines.adapters import room_for
from spd_core.engines.client import Engine
from spd_core.engines.writing import EngineLane
from spd_core.engines.written import WrittenBy
from spd_core.errors import InputError, WriterError
from spd_core.intervention.cards import read_card
from spd_core.intervention.projection import Lane
from spd_core.models.loading import load
from spd_core.peers import Peers
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.writer import Served, Writer
from tests.distill.students import same_weights
from tests.distill.test_engine_teachers import behind
from tests.engines.server import serving_tiny
from tests.engines.test_serving import stand_in

__all__ = ["stand_in"]  # a fixture


@pytest.fixture
def asked(counting: Path, family_folder: Callable[[str], Path]) -> Callable[..., Recipe]:
    """A recipe on a tiny model, whose rollouts are as good as greedy unless told."""

    def made(arm: str, writer: dict[str, Any], temperature: float = 1e-6, **train: Any) -> Recipe:
        return recipe_from({
            "capability": str(counting), "model": str(family_folder("llama")), "dtype": "float32", "arms": [arm],
            "capture": {"examples": None}, "drift": False,
            "corpus": {"held_out": 2, "max_new_tokens": 8, "batch_size": 3, "writer": writer},
            "train": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "completions": 0, **train},
            "rollout": {"temperature": temperature},
            "omniopd": {"chunks": 2, "chunk_tokens": 3, "samples": 2, "temperature": 0.0},
        })  # fmt: skip

    return made


def said(run: Path, arm: str) -> list[str]:
    """What the stand-in wrote down of adapters and questions, from the first adapter on."""
    lines = (run / f"engines/{arm}-student.log").read_text().splitlines()
    told = [line for line in lines if line.startswith(("load", "ask", "unload"))]
    return told[next(at for at, line in enumerate(told) if line.startswith("load")) :]


def steps_of(lines: list[str]) -> list[str]:
    """The same without sha256 and seeds, several questions in a row as one."""
    words = [" ".join(line.split()[:2]) for line in lines]
    return [word for at, word in enumerate(words) if at == 0 or word != words[at - 1]]


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_each_step_is_written_by_its_own_adapter_and_nothing_stays(
    asked: Callable[..., Recipe], tmp_path: Path
) -> None:
    for name, writer in (("here", {"kind": "local"}), ("there", {"kind": "vllm"})):
        assert carry_out(asked("on-policy", writer), tmp_path / name) == "done"
    here, there = (tmp_path / name / "arms/on-policy/round-1" for name in ("here", "there"))
    assert same_weights(here, there), "the same rollouts, and the same is made of them"
    lines = said(tmp_path / "there", "on-policy")
    steps = read_card(tmp_path / "there/adapters/on-policy").steps
    each = [(f"load step-{step}", f"ask step-{step}", f"unload step-{step}") for step in range(1, steps + 1)]
    assert steps_of(lines) == [word for words in each for word in words]
    weights = [line.split()[2] for line in lines if line.startswith("load")]
    assert len(set(weights)) == steps > 1, "another adapter at each step"
    assert [one.name for one in (tmp_path / "there/engines").iterdir()] == ["on-policy-student.log"]


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_a_run_goes_on_where_the_server_took_no_adapter_and_asks_the_same(
    asked: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = asked("omniopd-raw", {"kind": "vllm"}, temperature=1.0)
    assert carry_out(recipe, tmp_path / "whole") == "done"
    whole = said(tmp_path / "whole", "omniopd-raw")
    monkeypatch.setenv("SPD_VLLM_ARGS", "--refuses step-2")
    with pytest.raises(WriterError, match=r"refuses load_lora_adapter of step-2: 400, no room for step-2; .* resume"):
        carry_out(recipe, tmp_path / "parts")
    first = said(tmp_path / "parts", "omniopd-raw")
    arm = tmp_path / "parts/arms/omniopd-raw/round-1"
    assert {one.step for one in read_audits(arm / AUDITS)} == {1}
    assert not list((tmp_path / "parts/engines").glob(".*")), "neither a checkpoint nor an adapter"
    monkeypatch.delenv("SPD_VLLM_ARGS")
    assert carry_out(recipe, tmp_path / "parts") == "done"
    assert sorted(first + said(tmp_path / "parts", "omniopd-raw")) == sorted(whole), "seeds and adapters among it"
    assert len({line for line in whole if line.startswith("ask")}) == sum(line.startswith("ask") for line in whole)
    assert read_audits(arm / AUDITS) == read_audits(tmp_path / "whole/arms/omniopd-raw/round-1" / AUDITS)
    assert same_weights(arm, tmp_path / "whole/arms/omniopd-raw/round-1")


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_what_another_student_wrote_is_not_kept(
    asked: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPD_VLLM_ARGS", "--stale")  # it says yes to every adapter, and serves the untouched model
    recipe = asked("omniopd-raw", {"kind": "vllm"}, temperature=1.0, learning_rate=0.5, lora_alpha=64)
    with pytest.raises(WriterError, match=r"is not of the student of step 2: .* nats in the mean"):
        carry_out(recipe, tmp_path)
    assert {one.step for one in read_audits(tmp_path / "arms/omniopd-raw/round-1" / AUDITS)} == {1}


@pytest.mark.slow
def test_into_a_server_of_somebody_else_no_adapter_is_put(asked: Callable[..., Recipe], tmp_path: Path) -> None:
    local = asked("omniopd-raw", {"kind": "local"})
    with serving_tiny(load(str(local.model), dtype="float32")) as server:
        recipe = asked("omniopd-raw", behind(server))
        assert carry_out(recipe, tmp_path) == "done"
        greedy = {body["temperature"] for body in server.asked[4:]}
    card = read_card(tmp_path / "adapters/omniopd-raw")
    assert card.rollouts.startswith("written by SPD Lab: the adapter")
    assert "Rollouts" in (tmp_path / "adapters/omniopd-raw/README.md").read_text()
    assert greedy == {0.0}, "the teacher's alone: a rollout is drawn"


def test_several_processes_start_none_each(
    asked: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "together", lambda: Peers(0, 2))
    monkeypatch.setattr("spd_core.distill.batches.together", lambda: Peers(0, 1))
    with pytest.raises(InputError, match="each of 2 processes would start one for on-policy; start one process"):
        carry_out(asked("on-policy", {"kind": "vllm"}), tmp_path)


def test_what_the_disk_must_hold_and_which_ranks_there_are(asked: Callable[..., Recipe]) -> None:
    held = {arm: asked(arm, {"kind": "vllm"}).checkpoints_served for arm in ("on-policy", "omniopd", "spd")}
    assert held == {"on-policy": 1, "omniopd": 2, "spd": 1}
    assert asked("omniopd", {"kind": "local"}).checkpoints_served == 0
    assert [room_for(rank) for rank in (1, 4, 8, 9, 300, 512)] == [1, 8, 8, 16, 320, 512]
    with pytest.raises(InputError, match="lora_r 513: vLLM takes adapters up to rank 512"):
        room_for(513)


def test_rounding_of_a_few_tokens_is_no_other_student(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    with serving_tiny(lm) as server:
        served = Served(url=server.url, served_name=server.name)
        engine = Engine(served, Writer.model_validate(behind(server)))
        student = ServedStudent(EngineLane(engine, lm, Lane()), WrittenBy(writer="vllm 0.0"), tmp_path)
    student.check([-1.0] * 200, [-1.09] * 200, 3)
    student.check([-1.0] * 4, [-1.5] * 4, 3)
    student.check([], [], 3)
    for told, read in (([-1.0] * 200, [-1.11] * 200), ([-1.0] * 4, [-4.0] * 4), ([float("nan")], [-1.0])):
        with pytest.raises(WriterError, match=r"not of the student of step 3: .* nats in the mean"):
            student.check(told, read, 3)
    with pytest.raises(WriterError, match="told 0 log-probabilities of 2 tokens"):
        student.check([], [-1.0, -2.0], 3)


@pytest.mark.parametrize("cap", [None, 3.0])
def test_what_is_read_of_a_token_is_that_of_its_whole_distribution(
    tiny_lm: Callable[[str], Any], cap: float | None
) -> None:
    model = copy.deepcopy(tiny_lm("llama").model)
    model.config.final_logit_softcapping = cap
    hidden = torch.randn(5, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([3, 1, 4, 1, 5])
    logprobs, entropies = measured(model, hidden, tokens)
    logits = (hidden @ model.lm_head.weight.T).double()
    p = torch.distributions.Categorical(logits=logits if cap is None else cap * torch.tanh(logits / cap))
    assert logprobs == pytest.approx(p.log_prob(tokens).tolist(), abs=1e-4)
    assert entropies == pytest.approx(p.entropy().tolist(), abs=1e-4)
