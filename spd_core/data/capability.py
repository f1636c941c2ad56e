"""Knows a capability: examples (prompt, answer, where correctness is decided), a template and a scorer.

On disk it is a JSONL file: a settings row, then one example a row (the README documents both).
"""

import gzip
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from spd_core.data.patterns import check_pattern
from spd_core.errors import InputError
from spd_core.records import json_object
from spd_core.storage import ASSETS, refuse_pipe

BUILTIN_FOLDER = ASSETS / "capabilities"
QUESTION = "Question: {prompt}\nAnswer:"
INSTRUCTION = "Instruction: {prompt}\nCode:"
CONTINUED = "{prompt}"
"""The template of prompts that the answer goes on with: of code, the answer is what comes after the prompt's code."""
Split: TypeAlias = Literal["calibration", "train", "heldout"]
Style: TypeAlias = Literal["raw", "chat"]
Loss: TypeAlias = Literal["aligned", "full", "solution"]
Scorer: TypeAlias = Literal["number", "letter", "python", "exact", "nll"]
Part: TypeAlias = Literal["prompt", "answer"]
_Model = TypeVar("_Model", bound=BaseModel)


class RegexSpans(BaseModel):
    """Every match in a part; group 1 where the pattern has one, else the whole match."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    regex: str
    part: Part = Field(default="answer", alias="in")

    @field_validator("regex")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            check_pattern(pattern)
        except InputError as error:
            raise ValueError(str(error)) from error
        return pattern


class RangeSpans(BaseModel):
    """Explicit character ranges `[start, end)` in a part."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ranges: tuple[tuple[int, int], ...] = Field(min_length=1)
    part: Part = Field(default="answer", alias="in")

    @field_validator("ranges")
    @classmethod
    def _ordered(cls, ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        for start, end in ranges:
            if not 0 <= start < end:
                raise ValueError(f"range [{start}, {end}] is not 0 ≤ start < end")
        return ranges


SpanRule: TypeAlias = str | RegexSpans | RangeSpans
"""`answer`, `number`, `tests`, `after:TEXT`, or a regex or explicit ranges."""


def _known_rule(rule: SpanRule) -> SpanRule:
    if isinstance(rule, str) and rule not in ("answer", "number", "tests") and not rule.startswith("after:"):
        raise ValueError(f"unknown span rule {rule!r}; use answer, number, tests, after:TEXT, a regex or ranges")
    return rule


class Settings(BaseModel):
    """The settings row of a capability file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    capability: str
    title: str = ""
    description: str = ""
    template: str = QUESTION
    spans: SpanRule = "answer"
    scorer: Scorer = "exact"
    licence: str = ""

    _rule = field_validator("spans")(_known_rule)

    @field_validator("template")
    @classmethod
    def _has_prompt(cls, template: str) -> str:
        if template.count("{prompt}") != 1:
            raise ValueError("template must contain {prompt} exactly once")
        return template


class Example(BaseModel):
    """A prompt with its correct answer.

    Attributes:
        spans: where correctness is decided; None takes the capability's rule.
        tests: assertions that decide whether code is right.
        setup: code that the tests need before them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str = ""
    split: Split = "calibration"
    prompt: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    spans: SpanRule | None = None
    tests: tuple[str, ...] = ()
    setup: str = ""

    @field_validator("spans", mode="before")
    @classmethod
    def _bare_ranges(cls, value: Any) -> Any:
        return {"ranges": value} if isinstance(value, list) else value

    _rule = field_validator("spans")(lambda rule: rule if rule is None else _known_rule(rule))

    def check_ranges(self) -> None:
        """Raise `ValueError` when an explicit range leaves its text."""
        if isinstance(self.spans, RangeSpans):
            length = len(getattr(self, self.spans.part))
            for start, end in self.spans.ranges:
                if end > length:
                    raise ValueError(f"range [{start}, {end}] leaves the {self.spans.part}, {length} characters long")


@dataclass(frozen=True)
class Capability:
    """Named examples with spans, a prompt template and a scorer."""

    settings: Settings
    examples: tuple[Example, ...]

    @property
    def name(self) -> str:
        """Short name, as used on the command line."""
        return self.settings.capability

    @property
    def fingerprint(self) -> str:
        """sha256 of settings and examples: two results are comparable when it is the same."""
        rows = [self.settings.model_dump(mode="json"), *(example.model_dump(mode="json") for example in self.examples)]
        return hashlib.sha256(json.dumps(rows, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def to_jsonl(self) -> str:
        """The capability as `read_capability` reads it, to the same fingerprint."""
        rows = (self.settings, *self.examples)
        dumped = (row.model_dump(mode="json", by_alias=True, exclude_defaults=True) for row in rows)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in dumped)

    def split(self, name: Split) -> "Capability":
        """The examples of one split."""
        return replace(self, examples=tuple(example for example in self.examples if example.split == name))

    def limited(self, n: int | None) -> "Capability":
        """The first `n` examples (all of them for None)."""
        return self if n is None else replace(self, examples=self.examples[:n])


# --- reading -------------------------------------------------------------------------------------------------


def builtin_names() -> list[str]:
    """Names of the capabilities that come with SPD Lab."""
    return sorted(path.stem for path in BUILTIN_FOLDER.glob("*.jsonl"))


def read_builtin(name: str) -> Capability:
    """A capability that comes with SPD Lab.

    Raises:
        InputError: no capability of that name.
    """
    if name not in builtin_names():
        raise InputError(f"unknown capability {name!r}; built in: {', '.join(builtin_names())}, or give a .jsonl file")
    return read_capability(BUILTIN_FOLDER / f"{name}.jsonl")


def _text_of(path: Path) -> str:
    """A file as text, unpacked where its name ends in `.gz`."""
    if path.suffix != ".gz":
        return path.read_text("utf-8-sig")
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        return file.read()


def read_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a JSONL file with their 1-based line numbers; blank lines are passed over, `.gz` is unpacked.

    Raises:
        InputError: the file cannot be read or is none, or a line is not a JSON object (with its number).
    """
    refuse_pipe(path)
    try:
        lines = _text_of(path).split("\n")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json_object(line)
            if "\\u" in line:  # an escape can give half of a surrogate pair, which is no character
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error}); write one object a line") from error
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        rows.append((number, row))
    return rows


def read_capability(path: Path) -> Capability:
    """Read a capability from JSONL: an optional settings row (`{"capability": …}`) first, then examples.

    Raises:
        InputError: unreadable, malformed (with the line number), or without any example.
    """
    rows = read_jsonl(path)
    settings = Settings(capability=path.stem)
    if rows and "capability" in rows[0][1]:
        number, row = rows.pop(0)
        settings = _validated(Settings, row, path, number)
    examples = []
    for number, row in rows:
        example = _validated(Example, row, path, number)
        try:
            example.check_ranges()
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        examples.append(example if example.id else example.model_copy(update={"id": f"line-{number}"}))
    repeated = [name for name, count in Counter(example.id for example in examples).items() if count > 1]
    if repeated:
        raise InputError(f"{path}: the id {repeated[0]!r} is used more than once; ids must be unique")
    if not examples:
        raise InputError(f'{path} holds no example; add rows such as {{"prompt": "2 + 2?", "answer": "4"}}')
    return Capability(settings, tuple(examples))


def _validated(kind: type[_Model], row: dict[str, Any], path: Path, number: int) -> _Model:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        errors = error.errors()  # a span rule fails once for each form it may take: what we say of it comes first
        told = next((found for found in errors if found["type"] in ("value_error", "too_short")), errors[0])
        where = ".".join(str(part) for part in told["loc"][:1]) or "row"
        reason = told["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}, line {number}: {where}: {reason}") from error
