"""Texts token by token against the whole decode."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from spd_core.generation.pieces import TextStream, pieces_of
from tests.tiny import byte_tokenizer, merging_tokenizer, metaspace_tokenizer, wordpiece_tokenizer

TEXTS = ("Tom has 18 apples. Köln 👩‍💻!", "Answer: 23 B", "é\n\n  x", "  two spaces first", "日本語と한국어")


def decoded(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


@pytest.mark.parametrize("make", [byte_tokenizer, merging_tokenizer, metaspace_tokenizer, wordpiece_tokenizer])
def test_pieces_join_to_the_text(make: Callable[[], Any]) -> None:
    """Whatever a model may write: characters of several tokens, halves of them, special tokens in between."""
    tokenizer = make()
    generator = torch.Generator().manual_seed(0)
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    rows += torch.randint(0, len(tokenizer), (20, 30), generator=generator).tolist()
    for ids in rows:
        pieces = pieces_of(tokenizer, ids)
        assert len(pieces) == len(ids)
        assert "".join(pieces) == decoded(tokenizer, ids)


@pytest.mark.parametrize("make", [byte_tokenizer, merging_tokenizer, metaspace_tokenizer])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_grows_as_the_whole_decode_does(make: Callable[[], Any], text: str) -> None:
    tokenizer = make()
    ids, stream = tokenizer(text)["input_ids"], TextStream(tokenizer)
    for end in range(len(ids) + 1):
        whole = decoded(tokenizer, ids[:end])
        assert stream.upto(ids[:end]) == whole.rstrip("\ufffd"), "all but the bytes of a character that is not whole"
    assert stream.upto(ids, whole=True) == decoded(tokenizer, ids)


def test_each_token_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = merging_tokenizer()
    ids, stream = tokenizer("Tom has 18 apples. " * 20)["input_ids"], TextStream(tokenizer)
    seen: list[int] = []
    add = stream.add
    monkeypatch.setattr(stream, "add", lambda token: (seen.append(token), add(token))[1])
    for end in range(len(ids) + 1):
        stream.upto(ids[:end])
    assert seen == ids


@pytest.mark.parametrize("make", [byte_tokenizer, merging_tokenizer, metaspace_tokenizer, wordpiece_tokenizer])
def test_halves_of_characters_and_special_tokens_end_as_the_whole_decode_has_them(make: Callable[[], Any]) -> None:
    tokenizer = make()
    for ids in torch.randint(0, len(tokenizer), (20, 30), generator=torch.Generator().manual_seed(1)).tolist():
        stream = TextStream(tokenizer)
        for end in range(len(ids) + 1):
            stream.upto(ids[:end])
        assert stream.upto(ids, whole=True) == stream.upto(ids, whole=True) == decoded(tokenizer, ids)
