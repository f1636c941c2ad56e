"""Teachers: who writes on from a place in the student's text, from what it reads, and what comes back."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.data.capability import Settings
from spd_core.distill import teachers
from spd_core.distill.teachers import ModelTeacher, Prefix, SelfTeacher, ServedTeacher, cut_to, same_tokenizer
from spd_core.distill.verification import _read
from spd_core.engines.client import Engine
from spd_core.errors import Stopped, WriterError
from spd_core.generation.decode import generate
from spd_core.intervention.projection import Lane
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Served, Writer
from tests.distill.students import ending
from tests.engines.server import NAME, Server, serving_tiny
from tests.intervention.test_projection import subspace_of
from tests.tiny import merging_tokenizer, metaspace_tokenizer

FOUR = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=4)
GREEDY = dataclasses.replace(FOUR, temperature=0.0)
SETTINGS = Settings(capability="sums", template="Q: {prompt}")
TEXTS = (("Count 1", " and two"), ("Count 1", ""), ("A longer prompt", " with more"))


@pytest.fixture
def lm(tiny_lm: Callable[[str], Any]) -> Any:
    return ending(tiny_lm("llama"))


def prefixes(lm: Any) -> list[Prefix]:
    found = []
    for at, (prompt, written) in enumerate(TEXTS):
        ids = tuple(lm.tokenizer(prompt + written)["input_ids"])
        found.append(
            Prefix(number=at // 2, seed=100 * at, prompt=prompt, ids=ids, text=prompt + written, written=written)
        )
    return found


def alone(lm: Any, lane: Lane, prefix: Prefix, k: int, sampling: Sampling) -> str:
    """What one continuation is by itself."""
    (one,) = generate(
        lm, [prefix.text], [lane], dataclasses.replace(sampling, seed=prefix.seed + k), numbers=[prefix.number]
    )
    return one.text


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("rows_at_once", [1, 4, 64])
def test_each_continuation_is_what_it_is_by_itself(projected: bool, rows_at_once: int, lm: Any) -> None:
    lane = Lane(subspace_of(lm)) if projected else Lane()
    texts = SelfTeacher(lm, lane, rows_at_once).write(prefixes(lm), 3, FOUR)
    assert texts == [[alone(lm, lane, prefix, k, FOUR) for k in range(3)] for prefix in prefixes(lm)]
    assert len({text for three in texts for text in three}) > 5, "each has noise of its own"


def test_a_projected_self_leaves_the_student_as_it_was(lm: Any) -> None:
    ids = torch.arange(3, 40)[None]
    lane = Lane(subspace_of(lm))
    with torch.no_grad():
        before = lm.model(ids).logits
        raw = SelfTeacher(lm, Lane()).write(prefixes(lm), 2, FOUR)
        projected = SelfTeacher(lm, lane).write(prefixes(lm), 2, FOUR)
        assert torch.equal(lm.model(ids).logits, before)
    assert projected != raw
    assert SelfTeacher(lm, Lane()).write(prefixes(lm), 2, FOUR) == raw


def test_a_stop_while_a_teacher_writes_is_a_stop(lm: Any) -> None:
    asked = iter(range(100))
    with pytest.raises(Stopped):
        SelfTeacher(lm, Lane(), stop=lambda: next(asked) == 2).write(prefixes(lm), 2, FOUR)


# --- another model -----------------------------------------------------------------------------------------------


def test_another_model_of_the_same_tokenizer_reads_the_student_s_own_tokens(
    tiny_lm: Callable[[str], Any], lm: Any
) -> None:
    other = dataclasses.replace(tiny_lm("qwen2"), tokenizer=copy.deepcopy(lm.tokenizer))
    split = prefixes(lm)[0]
    split = dataclasses.replace(split, text="not read", written="not read")
    found = ModelTeacher(other, lm, SETTINGS, "raw").write([split], 2, GREEDY)
    (expected,) = generate(other, [split.ids], [Lane()], GREEDY)
    assert found == [[expected.text] * 2]


def another(lm: Any, tokenizer: Any) -> Any:
    """The same weights, with a larger vocabulary and another tokenizer."""
    model = copy.deepcopy(lm.model)
    torch.manual_seed(0)
    model.resize_token_embeddings(700)
    return dataclasses.replace(lm, model=model.eval(), tokenizer=tokenizer)


@pytest.mark.parametrize("make", [merging_tokenizer, metaspace_tokenizer])
def test_a_teacher_of_another_tokenizer_reads_text_and_is_cut_to_the_student_s_tokens(
    make: Callable[[], Any], lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, read = another(lm, make()), []

    def recording(model: Any, prompts: Sequence[Any], *given: Any, **named: Any) -> Any:
        read.extend(prompts)
        return generate(model, prompts, *given, **named)

    monkeypatch.setattr(teachers, "generate", recording)
    found = ModelTeacher(other, lm, SETTINGS, "raw").write(prefixes(lm), 2, FOUR)
    assert [list(ids) for ids in read[::2]] == [
        other.tokenizer(f"Q: {prompt}{written}")["input_ids"] for prompt, written in TEXTS
    ]
    for text in (text for two in found for text in two):
        assert len(lm.tokenizer(text, add_special_tokens=False)["input_ids"]) <= 4 * 3, (
            "bytes that are no text are longer"
        )
    whole = generate(other, read[:1], [Lane()], dataclasses.replace(FOUR, seed=0), numbers=[0])[0].text
    assert found[0][0] == cut_to(lm.tokenizer, whole, 4)


def test_in_chat_style_it_reads_the_prompt_in_its_own_template(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = merging_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    read: list[Any] = []

    def recording(model: Any, prompts: Sequence[Any], *given: Any, **named: Any) -> Any:
        read.extend(prompts)
        return generate(model, prompts, *given, **named)

    monkeypatch.setattr(teachers, "generate", recording)
    ModelTeacher(another(lm, tokenizer), lm, SETTINGS, "chat").write(prefixes(lm)[:1], 1, FOUR)
    assert tokenizer.decode(read[0]) == "[Count 1]> and two"


def test_a_text_is_cut_to_tokens_and_round_trips() -> None:
    tokenizer = merging_tokenizer()
    text = "Question: Tom has 18 apples and buys 5 more"
    ids = tokenizer(text)["input_ids"]
    for tokens in range(1, len(ids) + 3):
        assert cut_to(tokenizer, text, tokens) == tokenizer.decode(ids[:tokens])
    assert cut_to(tokenizer, text, 1000) == text
    assert cut_to(tokenizer, "", 4) == ""


def test_tokenizers_are_the_same_when_they_cut_alike_whoever_has_padded_with_them() -> None:
    one, other = merging_tokenizer(), merging_tokenizer()
    other(["a", "a longer text"], padding=True, truncation=True, max_length=3)
    assert same_tokenizer(one, other)
    assert not same_tokenizer(one, metaspace_tokenizer())
    other.add_tokens(["<tool>"])
    assert not same_tokenizer(one, other)


def test_what_a_student_wrote_keeps_the_space_before_it() -> None:
    """Tokenizers of SentencePiece's kind drop the space at the beginning of a text."""
    tokenizer = metaspace_tokenizer()
    prompt = tokenizer("How many apples", add_special_tokens=False)["input_ids"]
    whole = tokenizer("How many apples does he have", add_special_tokens=False)["input_ids"]
    assert whole[: len(prompt)] == prompt
    assert _read(tokenizer, prompt, whole) == ("How many apples does he have", " does he have")
    assert _read(tokenizer, prompt, prompt) == ("How many apples", "")


# --- behind a server ---------------------------------------------------------------------------------------------


def served(server: Server, lm: Any, stop: Any = None, **settings: Any) -> ServedTeacher:
    writer = Writer(kind="openai", url=server.url, served_name=NAME, **{"timeout": 30, "tries": 2, **settings})
    where = Served(url=server.url, served_name=NAME)
    ends = tuple(sorted(lm.model.generation_config.eos_token_id))
    return ServedTeacher(Engine(where, writer, ends), lm, stop)


def test_a_greedy_server_writes_what_the_model_itself_writes(lm: Any) -> None:
    with serving_tiny(lm) as server:
        found = served(server, lm).write(prefixes(lm), 2, GREEDY)
        asked = [body["prompt"] for body in server.asked]
    expected = SelfTeacher(lm, Lane()).write(prefixes(lm), 2, GREEDY)
    assert found == [[cut_to(lm.tokenizer, text, 4) for text in two] for two in expected]
    assert sorted(asked) == sorted(list(prefix.ids) for prefix in prefixes(lm) for _ in range(2))


def test_each_request_has_noise_of_its_own_and_the_same_again(lm: Any) -> None:
    seeds = []
    for _ in range(2):
        with serving_tiny(lm) as server:
            served(server, lm).write(prefixes(lm), 3, FOUR)
            seeds.append(sorted(body["seed"] for body in server.asked))
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 9


def test_a_server_that_falters_is_asked_again_and_one_that_fails_is_an_error(lm: Any) -> None:
    with serving_tiny(lm, faults={0: "429", 2: "half"}) as server:
        assert len(served(server, lm).write(prefixes(lm), 2, GREEDY)) == 3
    with serving_tiny(lm, faults={1: "dies"}) as server, pytest.raises(WriterError, match="no answer in 2 tries"):
        served(server, lm).write(prefixes(lm), 2, GREEDY)


def test_empty_answers_are_empty_continuations(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Server, body: dict[str, Any]) -> dict[str, Any]:
        return {"model": NAME, "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}

    monkeypatch.setattr(Server, "complete", nothing)
    with serving_tiny(lm) as server:
        assert served(server, lm).write(prefixes(lm), 2, FOUR) == [["", ""]] * 3


def test_a_stop_while_a_server_writes_is_a_stop(lm: Any) -> None:
    with serving_tiny(lm, faults={1: "hangs"}) as server, pytest.raises(Stopped):
        served(server, lm, stop=lambda: len(server.asked) > 1).write(prefixes(lm), 2, FOUR)


def test_a_student_learns_beside_a_server(lm: Any, tmp_path: Path) -> None:
    from spd_core.distill.audits import AUDITS, read_audits
    from tests.distill.students import omniopd, trained

    with serving_tiny(lm) as server:
        trained(lm, omniopd(lm, served(server, lm), n=4), tmp_path)
    chunks = [chunk for one in read_audits(tmp_path / AUDITS) for chunk in one.chunks]
    assert chunks
    assert all(len(chunk.others) == 3 for chunk in chunks)
