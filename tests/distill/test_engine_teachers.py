"""Teachers of OmniOPD behind an engine: the same text as here where nothing is drawn, and whole after every failure."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from spd_core.distill import learning
from spd_core.distill.audits import AUDITS, read_audits
from spd_core.distill.pipeline import carry_out
from spd_core.distill.teachers import EngineTeacher, Prefix, SelfTeacher
from spd_core.engines.writing import EngineLane, ToBeServed, engine_for
from spd_core.errors import InputError, WriterError
from spd_core.evaluation.preflight import check
from spd_core.intervention.cards import read_card
from spd_core.intervention.projection import Lane
from spd_core.models.loading import load
from spd_core.peers import Peers
from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Writer
from tests.distill.students import asked as asked_rows
from tests.distill.students import same_weights
from tests.engines.server import NAME, Server, serving_tiny
from tests.engines.test_serving import stand_in
from tests.intervention.test_projection import subspace_of

__all__ = ["stand_in"]  # a fixture


@pytest.fixture
def asked(counting: Path, family_folder: Callable[[str], Path]) -> Callable[..., Recipe]:
    """A recipe of OmniOPD on a tiny model, whose teacher is greedy and behind an engine."""

    def made(arm: str, writer: dict[str, Any], temperature: float = 0.0) -> Recipe:
        return recipe_from({
            "capability": str(counting), "model": str(family_folder("llama")), "dtype": "float32", "arms": [arm],
            "capture": {"examples": None}, "drift": False,
            "corpus": {"held_out": 2, "max_new_tokens": 8, "batch_size": 3, "writer": writer},
            "train": {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "completions": 0},
            "rollout": {"temperature": 1e-6},  # as good as greedy, so that whose noise it is makes no difference
            "omniopd": {"chunks": 2, "chunk_tokens": 3, "samples": 2, "temperature": temperature},
        })  # fmt: skip

    return made


def behind(server: Server, **settings: Any) -> dict[str, Any]:
    return {"kind": "openai", "url": server.url, "served_name": NAME, "tries": 2, "timeout": 30, **settings}


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_a_run_whose_teacher_is_served_is_that_of_a_teacher_here(asked: Callable[..., Recipe], tmp_path: Path) -> None:
    for name, writer in (("here", {"kind": "local"}), ("there", {"kind": "vllm"})):
        assert carry_out(asked("omniopd", writer), tmp_path / name) == "done"
    here, there = (read_audits(tmp_path / name / "arms/omniopd/round-1" / AUDITS) for name in ("here", "there"))
    assert any(one.chunks for one in here)
    assert [one.tokens for one in there] == [one.tokens for one in here], "its rollouts"
    chunks = [[(chunk.start, chunk.others) for one in audits for chunk in one.chunks] for audits in (here, there)]
    assert chunks[0] == chunks[1], "its greedy continuations, and so the weights of the chunks"
    adapters = [tmp_path / name / "arms/omniopd/round-1" for name in ("here", "there")]
    assert same_weights(*adapters)
    card = read_card(tmp_path / "there/adapters/omniopd")
    assert card.writer.startswith("written through vllm 0.0")
    readme = (tmp_path / "there/adapters/omniopd/README.md").read_text()
    assert "Teacher's text by" in readme
    assert read_card(tmp_path / "here/adapters/omniopd").writer == ""
    left = sorted(one.name for one in (tmp_path / "there/engines").iterdir())
    assert left == ["omniopd-student.log", "omniopd.log"], "the checkpoints are gone"
    assert not [one for one in psutil.Process().children(recursive=True) if "stand_in.py" in " ".join(one.cmdline())]


@pytest.mark.slow
def test_a_training_goes_on_where_its_teacher_s_server_died(asked: Callable[..., Recipe], tmp_path: Path) -> None:
    with serving_tiny(load(str(asked("omniopd-raw", {"kind": "local"}).model), dtype="float32")) as server:
        recipe = asked("omniopd-raw", behind(server, concurrency=1), temperature=1.0)
        assert carry_out(recipe, tmp_path / "whole") == "done"
        whole = len(server.asked)
        server.asked.clear()
        server.faults[whole - 3] = "dies"  # within the second step
        with pytest.raises(WriterError, match="start it again, and resume"):
            carry_out(recipe, tmp_path / "parts")
        server.dead = False
        server.faults.clear()
        assert {one.step for one in read_audits(tmp_path / "parts/arms/omniopd-raw/round-1" / AUDITS)} == {1}
        assert carry_out(recipe, tmp_path / "parts") == "done"
    one, two = (tmp_path / name / "arms/omniopd-raw/round-1" for name in ("whole", "parts"))
    assert read_audits(one / AUDITS) == read_audits(two / AUDITS)
    assert same_weights(one, two)


def test_it_never_reads_a_chunk_and_each_continuation_has_a_seed(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    drawn = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=6)
    rows = asked_rows(2)
    texts = [f"{row.prompt} so" for row in rows]
    prefixes = [
        Prefix(row.number, 100 * at, row.asked, tuple(lm.tokenizer(text)["input_ids"]), text, " so")
        for at, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]
    lane = Lane(subspace_of(lm), name="omniopd")
    with serving_tiny(lm, lane) as server:
        writer = Writer.model_validate(behind(server, others=[{"of": "omniopd", "served_name": NAME}]))
        wanted = ToBeServed("omniopd", lm, lane, True, tmp_path)
        with engine_for(writer, wanted, rows, drawn) as (own, _):
            assert isinstance(own, EngineLane)
            server.asked.clear()
            written = EngineTeacher(own).write(prefixes, 3, drawn)
            seeds = [body["seed"] for body in server.asked]
            assert sorted(tuple(body["prompt"]) for body in server.asked) == sorted([one.ids for one in prefixes] * 3)
            greedy = replace(drawn, temperature=0.0)
            assert EngineTeacher(own).write(prefixes, 1, greedy) == SelfTeacher(lm, lane).write(prefixes, 1, greedy)
    assert len(set(seeds)) == 6
    assert [len(one) for one in written] == [3, 3]


def test_a_server_must_serve_the_projected_self(asked: Callable[..., Recipe], tiny_lm: Callable[[str], Any]) -> None:
    with serving_tiny(tiny_lm("llama")) as server:
        check(asked("omniopd-raw", behind(server)))
        with pytest.raises(InputError, match=rf"serves {NAME}, and omniopd is another model; export it"):
            check(asked("omniopd", behind(server)))


def test_several_processes_start_no_engine_each(
    asked: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "together", lambda: Peers(0, 2))
    monkeypatch.setattr("spd_core.distill.batches.together", lambda: Peers(0, 1))
    with pytest.raises(InputError, match="corpus.writer vllm: each of 2 processes would start one for omniopd-raw"):
        carry_out(asked("omniopd-raw", {"kind": "vllm"}), tmp_path)
