"""What lanes wrote over prompts and seeds, as a record: each text, whether it is right, the table, and its files.

Imports neither torch nor scipy, so that a saved one opens at once. How it comes about is in `evaluation/repeating.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from spd_core.data.capability import BUILTIN_FOLDER
from spd_core.errors import InputError
from spd_core.evaluation.repeat_table import RepeatTable
from spd_core.generation.comparison import Comparison, LaneText, Token, WrittenRecord
from spd_core.generation.differences import first_divergence
from spd_core.recipes.lanes import Sampling
from spd_core.records import Record, read_record
from spd_core.storage import child, remove_file, spd_home, write_text

REPEAT_FORMAT = 1
RECORDED_REPEATS = BUILTIN_FOLDER.parent / "demo" / "repeats"
"""Those that come with SPD Lab."""


class RepeatedText(Record):
    """What one lane wrote for one prompt and seed, token by token.

    Attributes:
        texts: of the tokens; joined they are the text.
        logprobs, entropies: of each token under the lane's own model, in nats.
        right: by the capability's scorer; None where nobody knows.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]
    finish: Literal["eos", "length"]
    seconds: float
    right: bool | None = None

    @model_validator(mode="after")
    def _of_one_length(self) -> "RepeatedText":
        lengths = [len(column) for column in (self.ids, self.texts, self.logprobs, self.entropies)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"{lengths} ids, texts, log-probabilities and entropies, where every token has one of each"
            )
        return self

    @property
    def text(self) -> str:
        """The completion."""
        return "".join(self.texts)

    @staticmethod
    def of(lane: LaneText, right: bool | None) -> "RepeatedText":
        """A finished lane, with what the scorer says of it."""
        assert lane.finish != "stopped"
        return RepeatedText(
            ids=tuple(lane.ids),
            texts=tuple(token.text for token in lane.tokens),
            logprobs=tuple(token.logprob for token in lane.tokens),
            entropies=tuple(token.entropy for token in lane.tokens),
            finish=lane.finish,
            seconds=lane.seconds,
            right=right,
        )

    @property
    def tokens(self) -> tuple[Token, ...]:
        """As a comparison has them."""
        columns = zip(self.ids, self.texts, self.logprobs, self.entropies, strict=True)
        return tuple(Token(id=i, text=text, logprob=p, entropy=entropy) for i, text, p, entropy in columns)


class RepeatedPrompt(Record):
    """A prompt, and what the lanes wrote after it.

    Attributes:
        answer: the correct one, where it is known.
        texts: [seeds][lanes].
    """

    prompt: str
    answer: str | None = None
    read: str
    special_tokens: bool
    prompt_tokens: int
    texts: tuple[tuple[RepeatedText, ...], ...]


class Repeat(WrittenRecord):
    """Lanes over prompts and seeds.

    Attributes:
        split: of the capability that the prompts are from; empty where there is one prompt of somebody's own.
        sampling: of all texts, but for the seed.
        seeds: that are through with all prompts.
        lanes: how each writes, as in a comparison, but without a text.
        planned: prompts × seeds that were asked for; fewer are here where it was stopped.
        seconds: of writing.
    """

    format: int = REPEAT_FORMAT
    split: str
    sampling: Sampling
    seeds: tuple[int, ...] = Field(min_length=1)
    lanes: tuple[LaneText, ...] = Field(min_length=1)
    prompts: tuple[RepeatedPrompt, ...] = Field(min_length=1)
    planned: tuple[int, int]
    table: RepeatTable
    seconds: float
    versions: dict[str, str]

    @model_validator(mode="after")
    def _fits(self) -> "Repeat":
        shapes = {(len(one.texts), *map(len, one.texts)) for one in self.prompts}
        if shapes != {(len(self.seeds), *[len(self.lanes)] * len(self.seeds))}:
            raise ValueError(f"the texts do not fill {len(self.seeds)} seeds × {len(self.lanes)} lanes")
        return self

    @property
    def stopped(self) -> bool:
        """Whether it ended before all that was asked for."""
        return (len(self.prompts), len(self.seeds)) != self.planned

    @property
    def tokens(self) -> int:
        """That were written."""
        return sum(len(text.ids) for one in self.prompts for texts in one.texts for text in texts)

    def belongs_to(self, comparison: Comparison) -> bool:
        """Whether it repeats a comparison: the same lanes, and settings but for the seed, and its prompt."""
        same = (self.analysis, self.revision, self.prompt_style, _but_seed(self.sampling), self._specs) == (
            comparison.analysis,
            comparison.revision,
            comparison.prompt_style,
            _but_seed(comparison.sampling),
            [lane.spec for lane in comparison.lanes],
        )
        return same and comparison.grid is None and comparison.prompt in [one.prompt for one in self.prompts]

    @property
    def _specs(self) -> list[Any]:
        return [lane.spec for lane in self.lanes]

    def place_of(self, comparison: Comparison) -> tuple[int, int] | None:
        """Which of its prompts and seeds, counted from 0, a comparison has; None where it has another one."""
        prompts = [one.prompt for one in self.prompts]
        if comparison.prompt not in prompts or comparison.sampling.seed not in self.seeds:
            return None
        return prompts.index(comparison.prompt), self.seeds.index(comparison.sampling.seed)

    def comparison(self, prompt: int, seed: int) -> Comparison:
        """The texts of a prompt and a seed, both counted from 0, as if they had been written alone; not yet read."""
        asked = self.prompts[prompt]
        written = asked.texts[seed]
        lanes = tuple(
            lane.model_copy(update={"tokens": text.tokens, "finish": text.finish, "seconds": text.seconds})
            for lane, text in zip(self.lanes, written, strict=True)
        )
        return Comparison(
            id=cell_id(self.id, prompt, seed),
            **self.origin,
            prompt=asked.prompt,
            read=asked.read,
            special_tokens=asked.special_tokens,
            prompt_tokens=asked.prompt_tokens,
            answer=asked.answer,
            sampling=_with_seed(self.sampling, self.seeds[seed]),
            lanes=lanes,
            seconds=max(text.seconds for text in written),
            versions=self.versions,
        )


def _with_seed(sampling: Sampling, seed: int) -> Sampling:
    return Sampling(**{**vars(sampling), "seed": seed})


def _but_seed(sampling: Sampling) -> Sampling:
    return _with_seed(sampling, 0)


def text_rows(repeat: Repeat) -> Iterator[dict[str, Any]]:
    """Every text with its numbers: for a table, or a line of JSON each."""
    for asked in repeat.prompts:
        for seed, texts in zip(repeat.seeds, asked.texts, strict=True):
            for lane, text in zip(repeat.lanes, texts, strict=True):
                yield {
                    "prompt": asked.prompt,
                    "answer": asked.answer,
                    "seed": seed,
                    "lane": lane.label,
                    "right": text.right,
                    "first_divergence": _from_one(first_divergence(text.ids, texts[0].ids)),
                    "finish": text.finish,
                    "tokens": len(text.ids),
                    "text": text.text,
                }


def _from_one(at: int | None) -> int | None:
    return None if at is None else at + 1


def text_lines(repeat: Repeat) -> str:
    """`text_rows` as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in text_rows(repeat))


# --- files ---------------------------------------------------------------------------------------------------


def repeats_folder() -> Path:
    """Where they are saved."""
    return spd_home() / "repeats"


def save_repeat(repeat: Repeat, folder: Path | None = None) -> Path:
    """Write the record as `<id>.json`, atomically.

    Raises:
        InputError: an id that could lead elsewhere.
        StorageError: the disk refuses.
    """
    path = child(folder or repeats_folder(), f"{repeat.id}.json")
    write_text(path, repeat.model_dump_json() + "\n")
    return path


def repeat_files() -> list[Path]:
    """This machine's own, the newest first, then the recorded ones."""
    own = sorted(repeats_folder().glob("[!.]*.json"), reverse=True)
    return [*own, *sorted(RECORDED_REPEATS.glob("*.json"))]


def read_repeat(path: Path) -> Repeat:
    """The one in a file; raises `InputError` when it is missing, damaged, or of a newer format."""
    fault, remedy = "holds no repeat over prompts and seeds", "delete it and repeat again"
    return read_record(Repeat, path, newest=REPEAT_FORMAT, called=path.name, fault=fault, remedy=remedy)


def remove_repeat(name: str) -> None:
    """Delete a saved one; recorded ones stay.

    Raises:
        InputError: none of that id among the saved ones.
        StorageError: the disk refuses.
    """
    path = child(repeats_folder(), f"{name}.json")
    remove_file(path, f"no repeat {name!r} is saved on this machine; nothing was deleted")


# --- one text of it ------------------------------------------------------------------------------------------


def cell_id(repeat: str, prompt: int, seed: int) -> str:
    """What a link calls the texts of a prompt and a seed, both counted from 0."""
    return f"{repeat}.p{prompt + 1}.s{seed + 1}"


def cell_of(name: str) -> tuple[str, int, int] | None:
    """The repeat, the prompt and the seed that such a name means; None of other names."""
    parts = name.rsplit(".", 2)
    numbers = [part[1:] for part in parts[1:]]
    if len(parts) != 3 or [part[:1] for part in parts[1:]] != ["p", "s"] or not all(map(str.isdecimal, numbers)):
        return None
    return parts[0], int(numbers[0][:6]) - 1, int(numbers[1][:6]) - 1


def find_repeat(name: str) -> Path:
    """The file of a saved or recorded one; raises `InputError` when there is none."""
    for folder in (repeats_folder(), RECORDED_REPEATS):
        path = child(folder, f"{name}.json")
        if path.is_file():
            return path
    raise InputError(f"no repeat {name!r} is saved on this machine; repeat again")
