"""Long prompts are read in pieces: the texts of transformers, and a stop that is heard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from spd_core.generation import prompt
from spd_core.generation.compare import compare
from spd_core.generation.decode import Sampling, generate
from spd_core.intervention.projection import Lane
from spd_core.progress import Progress
from spd_core.recipes.lanes import RAW, LaneSpec
from tests.generation.test_compare import analysis_of
from tests.generation.test_decode import GREEDY, no_eos, plain
from tests.intervention.test_projection import subspace_of
from tests.tiny import FAMILIES

LONG = "A much longer prompt than one piece of it, and odd"  # 50 tokens


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "PIECE", 8)


@contextmanager
def widths(lm: Any) -> Iterator[list[int]]:
    """How many positions of a row each pass through the model reads."""
    seen: list[int] = []
    hook = lm.model.register_forward_pre_hook(
        lambda _module, _args, given: seen.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_write_what_transformers_writes(family: str, tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm(family)
    with widths(lm) as seen:
        (found,) = generate(lm, [LONG], [Lane()], GREEDY)
    assert seen[:7] == [8] * 6 + [2]
    assert found.tokens == plain(lm, LONG, 20)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mistral"])
def test_padded_lanes_in_pieces_write_what_one_pass_writes(
    family: str, tiny_lm: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm(family)
    lanes, prompts = [Lane(), Lane(subspace_of(lm))], ["Hi", LONG, "Nine or ten"]
    pieces = generate(lm, prompts, lanes, GREEDY, measured=True)
    monkeypatch.setattr(prompt, "PIECE", 512)
    whole = generate(lm, prompts, lanes, GREEDY, measured=True)
    assert [one.tokens for one in pieces] == [one.tokens for one in whole]
    for mine, other in zip(pieces, whole, strict=True):
        assert mine.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_a_prompt_of_one_piece_is_read_in_one_pass(tiny_lm: Callable[[str], Any]) -> None:
    lm = no_eos(tiny_lm("llama"))
    with widths(lm) as seen:
        generate(lm, ["12345678"], [Lane()], Sampling(temperature=0, max_new_tokens=2))
        generate(lm, ["123456789"], [Lane()], Sampling(temperature=0, max_new_tokens=2))
    assert seen == [8, 1, 8, 1, 1]


def test_a_stop_is_heard_while_the_prompt_is_read(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    told: list[Progress] = []
    with widths(lm) as seen:
        found = generate(lm, [LONG], [Lane(), Lane()], GREEDY, tell=told.append, stop=lambda: len(told) == 2)
    assert seen == [8, 8]
    assert [(one.finish, one.tokens) for one in found] == [("stopped", [])] * 2
    assert [(at.done, at.total, at.what) for at in told] == [
        (0, 50, "Reading the prompt: 0 of 50 tokens"),
        (8, 50, "Reading the prompt: 8 of 50 tokens"),
    ]


def test_a_stop_while_the_other_lanes_read_the_prompt_keeps_the_texts(tiny_lm: Callable[[str], Any]) -> None:
    lm = no_eos(tiny_lm("llama"))
    told: list[Progress] = []
    others = 2  # of their pieces were read
    found = compare(
        lm,
        analysis_of(lm),
        LONG,
        [RAW, LaneSpec(rank="8")],
        Sampling(temperature=0, max_new_tokens=40),
        tell=told.append,
        stop=lambda: sum("other lanes" in at.what for at in told) == others,
    )
    assert [lane.finish for lane in found.lanes] == ["stopped"] * 2
    assert all(0 < len(lane.tokens) < 40 for lane in found.lanes)
    assert not found.is_read
    assert sum("other lanes" in at.what for at in told) == others
