"""A corpus through a server: the rows of the lane that it serves, whole after every failure, and never mixed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spd_core.distill.corpus import read_corpus
from spd_core.distill.write import planned_rows, write_corpus, write_corpus_by
from spd_core.engines.written import WrittenBy, writer_of_corpus
from spd_core.errors import InputError, WriterError
from spd_core.intervention.projection import Lane
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Served, Writer
from tests.distill.test_corpus import capability
from tests.engines.server import NAME, Server, serving_tiny
from tests.intervention.test_projection import subspace_of

DRAWN = Sampling(temperature=1.2, top_p=1.0, max_new_tokens=6, seed=5)
GREEDY = replace(DRAWN, temperature=0.0)


@pytest.fixture
def lm(tiny_lm: Callable[[str], Any]) -> Any:
    return tiny_lm("llama")


def writer(server: Server, **settings: Any) -> Writer:
    return Writer(kind="openai", url=server.url, served_name=NAME, **{"timeout": 30, "tries": 2, **settings})


def written(lm: Any, by: Writer, path: Path, lane: Lane | None = None, sampling: Sampling = DRAWN, **how: Any) -> Any:
    tasks = planned_rows(lm, capability(), samples=2)
    return write_corpus_by(by, "spd", lm, tasks, lane or Lane(), sampling, path, path.parent, **how)


@pytest.mark.parametrize("projected", [False, True])
def test_greedy_rows_of_a_folded_model_are_those_of_the_hooks_here(lm: Any, projected: bool, tmp_path: Path) -> None:
    lane = Lane(subspace_of(lm), name="spd") if projected else Lane()
    tasks = planned_rows(lm, capability(), samples=2)
    here = write_corpus(lm, tasks, lane, GREEDY, tmp_path / "here.jsonl")
    with serving_tiny(lm, lane) as server:
        by = writer(server, others=(Served(of="spd", served_name=NAME),))
        through = written(lm, by, tmp_path / "there.jsonl", lane, GREEDY)
    assert [(row.tokens, row.completion, row.finish, row.end) for row in through] == [
        (row.tokens, row.completion, row.finish, row.end) for row in here
    ]
    found = writer_of_corpus(tmp_path / "there.jsonl")
    assert found is not None
    assert found.gap is not None
    assert found.gap < 1e-4
    assert found.writer == f"tiny-server 0.1 ({NAME} at {server.url})"


def test_a_server_that_serves_another_model_is_found_out(lm: Any, tmp_path: Path) -> None:
    """It calls itself rightly, and is the untouched model where a folded one was wanted."""
    with serving_tiny(lm, Lane()) as server:
        by = writer(server, others=(Served(of="spd", served_name=NAME),))
        with pytest.raises(WriterError, match="is not 'spd': its log-probabilities differ"):
            written(lm, by, tmp_path / "c.jsonl", Lane(subspace_of(lm), name="spd"))
        with pytest.raises(InputError, match=r"serves tiny, and spd is another model; export it .*\"of\": \"spd\""):
            written(lm, writer(server), tmp_path / "c.jsonl", Lane(subspace_of(lm), name="spd"))
    assert not (tmp_path / "c.jsonl").exists()


def test_a_corpus_goes_on_where_its_server_died(lm: Any, tmp_path: Path) -> None:
    path, told = tmp_path / "c.jsonl", []
    with serving_tiny(lm) as server:
        whole = written(lm, writer(server), tmp_path / "whole.jsonl")
        looks = len(server.asked) - 10
        server.asked.clear()
        server.faults[looks + 4] = "dies"
        with pytest.raises(WriterError, match="every row before is kept"):
            written(lm, writer(server, concurrency=1), path)
        kept = read_corpus(path)
        assert [row.number for row in kept] == [0, 1, 2, 3]
        server.dead = False
        server.asked.clear()
        assert written(lm, writer(server), path, tell=told.append) == whole
        assert len(server.asked) == looks + 6, "a request for each row that was missing"
    assert (told[-1].done, told[-1].total) == (10, 10)
    assert read_corpus(path) == whole, "by number, whichever answer came first"
    assert written(lm, writer(server), path) == whole, "nothing is left to ask; the server is gone"


def test_each_row_is_on_the_disk_before_the_next_is_taken(lm: Any, tmp_path: Path) -> None:
    path, lengths = tmp_path / "c.jsonl", []
    with serving_tiny(lm) as server:
        written(lm, writer(server), path, tell=lambda _: lengths.append(len(read_corpus(path))))
    assert lengths == list(range(1, 11))


def test_a_stop_keeps_what_is_there(lm: Any, tmp_path: Path) -> None:
    done: list[int] = []
    with serving_tiny(lm) as server:
        rows = written(
            lm, writer(server, concurrency=1), tmp_path / "c.jsonl", tell=done.append, stop=lambda: len(done) >= 3
        )
    assert len(rows) == 3 == len(read_corpus(tmp_path / "c.jsonl"))


def test_rows_of_two_writers_are_never_mixed(lm: Any, tmp_path: Path) -> None:
    tasks, path, done = planned_rows(lm, capability(), samples=2), tmp_path / "c.jsonl", []
    write_corpus(lm, tasks, Lane(), DRAWN, path, batch_size=1, tell=done.append, stop=lambda: len(done) > 2)
    with serving_tiny(lm) as server:
        with pytest.raises(InputError, match="written here, and is now to be written through tiny-server 0.1"):
            written(lm, writer(server), path)
        path.unlink()
        written(lm, writer(server), path, stop=lambda: path.exists())
        with pytest.raises(InputError, match=r"written through tiny-server 0.1 .*, and is now to be written here"):
            write_corpus(lm, tasks, Lane(), DRAWN, path)
        server.version = "0.2"
        with pytest.raises(InputError, match=r"through tiny-server 0.1 .* through tiny-server 0.2"):
            written(lm, writer(server), path)


def test_a_server_without_token_ids_is_told_the_text_and_that_is_noted(lm: Any, tmp_path: Path) -> None:
    with serving_tiny(lm, takes_ids=False, tells_ids=False) as server:
        rows = written(lm, writer(server), tmp_path / "c.jsonl")
    assert {type(body["prompt"]) for body in server.asked[1:]} == {str}
    assert len(rows) == 10
    assert all(list(row.tokens) == lm.tokenizer(row.completion)["input_ids"] or "�" in row.completion for row in rows)
    found = writer_of_corpus(tmp_path / "c.jsonl")
    assert found is not None
    assert (found.prompts, found.tokens, found.repeats) == ("text", "re-encoded", True)
    assert "(prompts as text, tokens re-encoded)" in found.sentence


def test_a_server_that_reads_no_seed_is_refused(lm: Any, tmp_path: Path) -> None:
    with serving_tiny(lm, reads_seeds=False) as server, pytest.raises(WriterError, match="same text with two seeds"):
        written(lm, writer(server), tmp_path / "c.jsonl")


def test_a_server_that_knows_no_top_k_is_refused_where_it_counts(lm: Any, tmp_path: Path) -> None:
    with serving_tiny(lm, reads_top_k=False) as server:
        written(lm, writer(server), tmp_path / "whole.jsonl")
        with pytest.raises(WriterError, match="does not know top_k, which is 20"):
            written(lm, writer(server), tmp_path / "c.jsonl", sampling=replace(DRAWN, top_k=20))


def test_the_key_goes_to_the_server_and_nowhere_else(lm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_WRITER_KEY", "hush-1234")
    with serving_tiny(lm, key="hush-1234") as server:
        written(lm, writer(server), tmp_path / "c.jsonl")
    assert {one["authorization" if "authorization" in one else "Authorization"] for one in server.headers} == {
        "Bearer hush-1234"
    }
    assert not any("hush" in file.read_text() for file in tmp_path.rglob("*") if file.is_file())


def test_what_is_said_of_a_writer_says_that_nothing_is_shared() -> None:
    said = WrittenBy(writer="vllm 0.32.0", repeats=True).sentence
    assert said == "written through vllm 0.32.0, where the same seed gives the same text; without shared randomness"
    greedy = WrittenBy(writer="vllm 0.32.0").sentence
    assert "randomness" not in greedy, "nothing was drawn"
    assert json.loads(WrittenBy(writer="x").model_dump_json())["shared_randomness"] is False
