"""Which part of a text each of its tokens is, all at once or as they come. Knows nothing of models."""

from collections.abc import Sequence
from typing import Any

_SPOKEN = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}


class TextStream:
    """The text of a completion that grows: each token is decoded once, by the tokenizers' own `DecodeStream`.

    A character that needs several tokens comes with the last of them.

    Attributes:
        text: of the tokens so far, without what is not yet a character.
    """

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers.decoders import DecodeStream

        self.text = ""
        self._tokenizer, self._stream = tokenizer, DecodeStream(skip_special_tokens=True)
        self._tokens = 0
        self._whole = False

    def add(self, token: int) -> str:
        """The part of the text that one more token adds."""
        piece: str = self._stream.step(self._tokenizer.backend_tokenizer, token) or ""
        self.text += piece
        self._tokens += 1
        return piece

    def upto(self, tokens: Sequence[int], whole: bool = False) -> str:
        """The text of tokens of which the first ones were seen before; of whole ones, as `decode` has it."""
        for token in tokens[self._tokens :]:
            self.add(token)
        if whole and not self._whole:
            self.text, self._whole = self._tokenizer.decode(tokens, **_SPOKEN), True
        return self.text


def pieces_of(tokenizer: Any, tokens: Sequence[int]) -> list[str]:
    """The part of the text that each token adds; joined they are the text."""
    text = tokenizer.decode(tokens, **_SPOKEN)
    stream = TextStream(tokenizer)
    pieces: list[str] = []
    at = 0
    for token in tokens:
        piece = stream.add(token)
        piece = piece if text.startswith(piece, at) else ""
        pieces.append(piece)
        at += len(piece)
    if pieces:
        pieces[-1] += text[at:]  # bytes that never became a character
    return pieces
