"""Answers through a server: the same as here where they are greedy, kept apart from ours, and gone on with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.errors import InputError, WriterError
from spd_core.evaluation.cells import Cell, read_cell
from spd_core.evaluation.fill import carry_out_table
from spd_core.evaluation.preflight import check, refusal
from spd_core.evaluation.report import notes
from spd_core.evaluation.store import ItemStore
from spd_core.evaluation.table import read_table
from tests.engines.server import NAME, serving_tiny
from tests.evaluation.test_fill import Make, home, make, write_set

__all__ = ["home", "make"]  # fixtures


@pytest.fixture
def lm(tiny_lm: Callable[[str], Any]) -> Any:
    return tiny_lm("llama")


def cell_of(folder: Path, subject: str = "base") -> tuple[Cell, list[Any]]:
    found = read_cell(folder, subject, 42, "inside")
    assert found is not None
    return found


def asking(make: Make, url: str, **changes: Any) -> Any:
    """The untouched model alone, on one set."""
    writer = {"kind": "openai", "url": url, "served_name": NAME, "tries": 2, "concurrency": 1}
    return make(**{"subjects": ["base"], "sets": [make().sets[0].model_dump()], "writer": writer, **changes})


def test_an_evaluation_goes_on_where_its_server_died_and_is_kept_apart(make: Make, lm: Any, tmp_path: Path) -> None:
    here = make(subjects=["base"], sets=[make().sets[0].model_dump()])
    assert carry_out_table(here, tmp_path / "here") == "done"
    with serving_tiny(lm) as server:
        recipe = asking(make, server.url)
        check(recipe)
        server.faults[1 + 3] = "dies"  # after the look at it, and three answers
        with pytest.raises(WriterError, match="every row before is kept"):
            carry_out_table(recipe, tmp_path / "run")
        assert "nothing answers at" in refusal(recipe)
        assert refusal(recipe, ask=False) == "", "a page asks nobody while one types"
        server.dead = False
        server.asked.clear()
        assert carry_out_table(recipe, tmp_path / "run") == "done"
        assert len(server.asked) == 1 + 2, "the look, and what was missing"
        server.asked.clear()
        assert carry_out_table(recipe, tmp_path / "again") == "done"
        assert server.asked == [], "records of another run by the same writer count"
        server.version = "0.2"
        assert carry_out_table(recipe, tmp_path / "run") == "done"
        assert len(server.asked) == 1 + 5, "and those of another version do not: the cell is answered again"
    through, mine = cell_of(tmp_path / "run"), cell_of(tmp_path / "here")
    assert [(one.id, one.completion, one.finish, one.tokens) for one in through[1]] == [
        (one.id, one.completion, one.finish, one.tokens) for one in mine[1]
    ], "greedy, float32: the same texts"
    assert through[0].about.writer == f"tiny-server 0.2 ({NAME} at {server.url})"
    assert (mine[0].about.writer, mine[0].written) == ("", None)
    assert through[0].written is not None
    assert through[0].about.subject == mine[0].about.subject
    assert ItemStore(through[0].about).folder != ItemStore(mine[0].about).folder
    said = notes(read_table(recipe, tmp_path / "run"))
    who = f"tiny-server 0.2 ({NAME} at {server.url})"
    assert f"Answers were written through {who}; greedily, so that only its rounding may choose other tokens." in said


def test_what_an_engine_cannot_do_is_refused_before_it_starts(make: Make, tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    rows = write_set(tmp_path / "likely.jsonl", scorer="nll")
    for changes, said in [
        ({"sets": [{"capability": str(rows)}]}, "scored by likelihoods, which the writer openai is not asked for"),
        ({"subjects": ["base", "spd"]}, "the arm spd is trained by this evaluation, and no server serves it yet"),
        ({"subjects": ["base", "projected"]}, r"serves tiny, and projected is another model; export it"),
    ]:
        with pytest.raises(InputError, match=said):
            check(asking(make, url, **changes), ask=False)
    with pytest.raises(InputError, match=r"writer.others names 'spd', which writes nothing here; there are base"):
        writer = {"kind": "openai", "url": url, "served_name": NAME, "others": [{"of": "spd", "served_name": "x"}]}
        check(asking(make, url, writer=writer), ask=False)
    with pytest.raises(WriterError, match="nothing answers at http://127.0.0.1:9/v1"):
        check(asking(make, url))


@pytest.mark.parametrize(
    ("named", "said"),
    [("", "needs an environment with vLLM"), ("vllm-env", "write the whole path"), ("/nowhere", "there is no Python")],
)
def test_a_vllm_that_is_not_there_is_said(named: str, said: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_VLLM", named)
    with pytest.raises(WriterError, match=said):
        check(asking(make, "", writer={"kind": "vllm"}), ask=False)
