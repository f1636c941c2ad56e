"""A server that fails in every way it can: what is taken is whole, and what cannot be had is said."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
import torch

from spd_core.engines.client import Ask, Engine, seed_of
from spd_core.engines.discovery import connect
from spd_core.errors import WriterError
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Served, Writer
from tests.engines.server import NAME, Server, serving_tiny

GREEDY = Sampling(temperature=0.0, max_new_tokens=5)
DRAWN = Sampling(temperature=1.5, top_p=1.0, max_new_tokens=6, seed=3)
PROMPTS = ("one and", "two", "three more", "four", "five apples", "six")


def greedy_by_hand(lm: Any, ids: list[int], most: int) -> list[int]:
    """The likeliest token each time, of the whole text read anew; the one that ends it among them."""
    written: list[int] = []
    while len(written) < most and written[-1:] != [1]:
        with torch.no_grad():
            written.append(int(lm.model(torch.tensor([ids + written])).logits[0, -1].argmax()))
    return written


def asks(lm: Any, prompts: tuple[str, ...] = PROMPTS) -> list[Ask]:
    return [Ask(at, tuple(lm.tokenizer(text)["input_ids"]), text, True) for at, text in enumerate(prompts)]


@contextmanager
def engine(lm: Any, server_is: dict[str, Any] | None = None, **writer: Any) -> Iterator[tuple[Server, Engine]]:
    with serving_tiny(lm, **(server_is or {})) as server:
        served = Served(url=server.url, served_name=NAME)
        settings = Writer(kind="openai", url=server.url, served_name=NAME, **{"timeout": 5, "tries": 3, **writer})
        yield server, connect(served, settings, ends=[1])


@pytest.fixture
def lm(tiny_lm: Callable[[str], Any]) -> Any:
    return tiny_lm("llama")


def test_greedy_answers_are_those_of_transformers_token_by_token(lm: Any) -> None:
    with engine(lm, concurrency=3) as (server, found):
        answers = {ask.number: answer for ask, answer in found.write(asks(lm), GREEDY)}
    assert sorted(answers) == list(range(6))
    for ask in asks(lm):
        tokens = greedy_by_hand(lm, list(ask.ids), 5)
        assert list(answers[ask.number].tokens or ()) == tokens
        assert answers[ask.number].finish == ("eos" if tokens[-1] == 1 else "length")
    assert 1 < server.most <= 3, "several at a time, and no more than allowed"


def test_a_request_says_everything_and_has_a_seed_of_its_own(lm: Any) -> None:
    with engine(lm) as (server, found):
        list(found.write(asks(lm)[:2], replace(DRAWN, top_k=7)))
    first, second = sorted(server.asked, key=lambda body: body["prompt"] != list(asks(lm)[0].ids))
    assert first["prompt"] == list(asks(lm)[0].ids), "one prompt, as token ids"
    assert (first["seed"], second["seed"]) == (seed_of(3, 0), seed_of(3, 1))
    assert len({seed_of(seed, number) for seed in range(20) for number in range(200)}) == 4000
    assert all(0 <= seed_of(7, number) < 2**31 for number in range(1000))
    said = {name: first[name] for name in ("n", "temperature", "top_p", "top_k", "max_tokens", "stop_token_ids")}
    assert said == {"n": 1, "temperature": 1.5, "top_p": 1.0, "top_k": 7, "max_tokens": 6, "stop_token_ids": [1]}


def test_the_same_request_gives_the_same_text_alone_reversed_and_among_others(lm: Any) -> None:
    with engine(lm) as (_, found):
        together = {ask.number: answer.tokens for ask, answer in found.write(asks(lm), DRAWN)}
        reversed_ = {ask.number: answer.tokens for ask, answer in found.write(asks(lm)[::-1], DRAWN)}
        alone = {one.number: next(found.write([one], DRAWN))[1].tokens for one in asks(lm)}
    assert together == reversed_ == alone
    assert len(set(together.values())) > 3


def test_it_is_asked_from_a_notebook_whose_event_loop_runs(lm: Any) -> None:
    async def cell() -> int:
        return len(list(found.write(asks(lm), DRAWN)))

    # A thread of its own: a browser of other tests may hold this one's event loop.
    with engine(lm) as (_, found), ThreadPoolExecutor(1) as alone:
        assert alone.submit(asyncio.run, cell()).result() == len(asks(lm))


@pytest.mark.parametrize("fault", ["429", "500", "half", "open", "stray", "hangs"])
def test_what_may_pass_is_asked_for_again_and_nothing_of_it_is_taken(lm: Any, fault: str) -> None:
    with engine(lm) as (_, found):
        whole = {ask.number: answer for ask, answer in found.write(asks(lm), DRAWN)}
    with engine(lm, {"faults": {1: fault, 3: fault}}, timeout=3 if fault == "hangs" else 60, tries=9) as (
        server,
        found,
    ):
        answers = {ask.number: answer for ask, answer in found.write(asks(lm), DRAWN)}
    assert answers == whole
    assert len(server.asked) == 8 or fault == "hangs", "a busy machine hangs by itself"
    assert server.faults == {}


def test_a_server_that_asks_for_patience_gets_it(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited, sleep = [], anyio.sleep

    async def noted(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr("spd_core.engines.client.sleep", noted)
    with engine(lm, {"faults": {0: "429", 1: "500", 2: "500"}}, tries=4) as (_, found):
        assert len(list(found.write(asks(lm)[:1], GREEDY))) == 1
    assert waited == [0.01, 1.0, 2.0], "what Retry-After says; else twice as long each time"


def test_a_server_that_only_fails_ends_with_its_url_and_its_words(lm: Any) -> None:
    said = r"gave no answer in 2 tries \(500, later\).*start it again, and resume"
    with (
        engine(lm, {"faults": dict.fromkeys(range(2), "500")}, tries=2) as (server, found),
        pytest.raises(WriterError, match=said),
    ):
        list(found.write(asks(lm)[:1], GREEDY))
    assert len(server.asked) == 2


def test_a_server_that_dies_in_the_middle_keeps_what_came_before(lm: Any) -> None:
    taken = []
    with (
        engine(lm, {"faults": {3: "dies"}}, tries=2, concurrency=1) as (_, found),
        pytest.raises(WriterError, match=f"{NAME} at http://127.0.0.1:.*every row before is kept"),
    ):
        for ask, _ in found.write(asks(lm), GREEDY):
            taken.append(ask.number)
    assert taken == [0, 1, 2]


@pytest.mark.parametrize(("fault", "what"), [("other", "answers with 'another', another model; nothing of it is kept")])
def test_another_model_in_the_middle_is_not_taken(lm: Any, fault: str, what: str) -> None:
    with engine(lm, {"faults": {0: fault}}) as (server, found), pytest.raises(WriterError, match=what):
        list(found.write(asks(lm)[:1], GREEDY))
    assert len(server.asked) == 1, "it is not asked again"


def test_another_reading_of_the_prompt_is_refused(lm: Any) -> None:
    """As where a server adds a token of its own before a prompt."""
    with engine(lm, {"takes_ids": True, "tells_ids": False}) as (_, found):
        ask = asks(lm)[0]
        told = replace(found, takes_ids=False)
        longer = replace(ask, text=f"{ask.text}!")
        with pytest.raises(WriterError, match=r"reads the prompt .* as 8 tokens, and the model here as 7"):
            list(told.write([longer], GREEDY))


def test_a_stop_gives_up_what_is_on_its_way(lm: Any) -> None:
    asked_to, taken = threading.Event(), []
    with engine(lm, {"faults": {2: "hangs", 3: "hangs"}}, concurrency=2, timeout=600) as (server, found):
        for ask, _answer in found.write(asks(lm), GREEDY, asked_to.is_set):
            taken.append(ask.number)
            if len(taken) == 2:
                asked_to.set()
        assert not server.release.is_set(), "nobody let the two go that hang"
    assert len(taken) == 2


def test_no_more_is_asked_than_is_taken(lm: Any) -> None:
    """Whoever reads slowly is not overrun: answers wait with the server, not here."""
    with engine(lm, concurrency=2) as (server, found):
        answers = found.write(asks(lm), GREEDY)
        next(answers)
        time.sleep(0.3)
        assert len(server.asked) <= 3
        answers.close()


# --- who is there ------------------------------------------------------------------------------------------------


def test_a_server_says_what_it_serves(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPD_WRITER_KEY", raising=False)
    with engine(lm) as (server, found):
        assert found.version == "tiny-server 0.1"
        own = found.writer
        with pytest.raises(WriterError, match=f"does not serve 'big', but {NAME}; correct served_name"):
            connect(Served(url=server.url, served_name="big"), own)
        with pytest.raises(WriterError, match="holds 256 tokens of tiny, .* needs 300; start it with a longer context"):
            connect(Served(url=server.url, served_name=NAME), own, tokens=300)
        with pytest.raises(WriterError, match="is no list of models .*mostly ends with /v1"):
            connect(Served(url=server.url.removesuffix("/v1"), served_name=NAME), own)
        server.key = "secret"
        with pytest.raises(WriterError, match="wants a key; set SPD_WRITER_KEY"):
            connect(Served(url=server.url, served_name=NAME), own)
        monkeypatch.setenv("SPD_WRITER_KEY", "secret")
        list(connect(Served(url=server.url, served_name=NAME), own, [1]).write(asks(lm)[:1], GREEDY))
    with pytest.raises(WriterError, match="nothing answers at .*start the server, or correct the url"):
        connect(Served(url=server.url, served_name=NAME), own)
