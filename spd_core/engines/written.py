"""What is kept of an engine that has written: who it was, and what could not be the same as here. Imports no torch."""

from pathlib import Path
from typing import Literal

from spd_core.errors import InputError
from spd_core.records import Record, read_record
from spd_core.storage import to_json, write_text


class WrittenBy(Record):
    """The engine that has written some rows. Texts of two engines never stand in one corpus or cell.

    Attributes:
        writer: the program and its version; of a server that somebody else runs, also its model and its url.
        prompts: how they were sent; as text, the server's own tokenizer has read them.
        tokens: whether the server told them, or the tokenizer here made them of the text again.
        repeats: whether a request with the same seed gave the same text again; None where nothing was drawn.
        gap: mean difference between its log-probabilities and those of the model here, in nats, on a few tokens; None
            where it tells none.
        shared_randomness: always false: an engine draws its own noise, so that two arms differ by luck, too.
    """

    format: int = 1
    writer: str
    prompts: Literal["token ids", "text"] = "token ids"
    tokens: Literal["returned", "re-encoded"] = "returned"
    repeats: bool | None = None
    gap: float | None = None
    shared_randomness: Literal[False] = False

    def same(self, other: "WrittenBy") -> bool:
        """Whether rows of both may stand beside each other."""
        return (self.writer, self.prompts, self.tokens) == (other.writer, other.prompts, other.tokens)

    @property
    def sentence(self) -> str:
        """What it means for whoever reads the rows."""
        sent = "" if (self.prompts, self.tokens) == ("token ids", "returned") else self._retold
        if self.repeats is None:  # nothing was drawn
            return f"written through {self.writer}{sent}; greedily, so that only its rounding may choose other tokens"
        again = f"where the same seed {'gives' if self.repeats else 'does not give'} the same text"
        return f"written through {self.writer}, {again}{sent}; without shared randomness"

    @property
    def _retold(self) -> str:
        return f" (prompts as {self.prompts}, tokens {self.tokens})"


def writer_of_corpus(path: Path) -> WrittenBy | None:
    """Who wrote a corpus; None where it was SPD Lab itself.

    Raises:
        InputError: the record is damaged.
    """
    place = _place(path)
    return read_record(WrittenBy, place, remedy=f"delete {path.name}, and resume") if place.exists() else None


def note_writer(path: Path, written: WrittenBy) -> None:
    """Write down who writes a corpus, before its first row.

    Raises:
        InputError: somebody else has begun it.
        StorageError: the disk refuses.
    """
    refuse_others(path, written)
    write_text(_place(path), to_json(written.model_dump(mode="json")))


def refuse_others(path: Path, written: WrittenBy | None) -> None:
    """Refuse to go on with a corpus that another writer has begun; None is SPD Lab itself.

    Raises:
        InputError: it was.
    """
    if not path.exists() or not path.stat().st_size:
        return
    before = writer_of_corpus(path)
    if before is written is None or (before is not None and written is not None and before.same(written)):
        return
    raise InputError(
        f"{path} was {_called(before)}, and is now to be {_called(written)}; rows of two writers are never mixed. "
        "Go on with the first one, or delete the file and resume"
    )


def _called(written: WrittenBy | None) -> str:
    return "written here" if written is None else f"written through {written.writer}{written._retold}"


def _place(path: Path) -> Path:
    return path.with_suffix(".writer.json")
