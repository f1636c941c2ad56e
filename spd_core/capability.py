"""Knows a calibration example: prompt, answer, correctness-defining spans, and which tokens they are.

A capability is a JSONL file: a settings row, then one example a row (the README documents both). Needs a
tokenizer's character offsets, and knows nothing of models or gradients.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from spd_core.errors import InputError

BUILTIN_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "capabilities"
QUESTION = "Question: {prompt}\nAnswer:"
INSTRUCTION = "Instruction: {prompt}\nCode:"
CAPTURE_TOKENS = 256
"""Longest example when capturing, in tokens (SPD paper)."""

Split: TypeAlias = Literal["calibration", "train", "heldout"]
Style: TypeAlias = Literal["raw", "chat"]
Loss: TypeAlias = Literal["aligned", "full", "solution"]
Scorer: TypeAlias = Literal["number", "letter", "python", "exact", "nll"]
Part: TypeAlias = Literal["prompt", "answer"]
Model = TypeVar("Model", bound=BaseModel)


class RegexSpans(BaseModel):
    """Every match in a part; group 1 where the pattern has one, else the whole match."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    regex: str
    part: Part = Field(default="answer", alias="in")

    @field_validator("regex")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern, re.MULTILINE)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
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
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str = ""
    split: Split = "calibration"
    prompt: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    spans: SpanRule | None = None
    tests: tuple[str, ...] = ()

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


def read_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a JSONL file with their 1-based line numbers; blank lines are passed over.

    Raises:
        InputError: the file cannot be read, or a line is not a JSON object (with its number).
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON ({error}); write one object a line") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: a JSON {type(row).__name__}, expected an object {{…}}")
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


def _validated(kind: type[Model], row: dict[str, Any], path: Path, number: int) -> Model:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1]) or "row"
        raise InputError(f"{path}, line {number}: {where}: {first['msg']}") from error


# --- text and spans ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rendered:
    """An example as the text that the model reads.

    Attributes:
        text: prompt and answer.
        prompt_at: where the example's own prompt begins in `text`.
        head: length of the generation prompt, everything before the answer.
        answer_at: where the answer itself begins (after the space that joins it).
        special: whether the tokenizer adds its default special tokens (a chat template has its own).
    """

    text: str
    prompt_at: int
    head: int
    answer_at: int
    special: bool


def generation_prompt(prompt: str, settings: Settings, style: Style, tokenizer: Any) -> tuple[str, int]:
    """The text that the model continues, and where `prompt` begins in it.

    Raises:
        InputError: chat style without a chat template, or a template that does not contain the prompt.
    """
    if style == "raw":
        before, after = settings.template.split("{prompt}")
        return before + prompt + after, len(before)
    if not tokenizer.chat_template:
        raise InputError("this model has no chat template; use --prompt-style raw")
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    at = text.rfind(prompt)
    if at < 0:
        raise InputError(f"the chat template changes the prompt {prompt[:40]!r}; use --prompt-style raw")
    return text, at


def render(example: Example, settings: Settings, style: Style, tokenizer: Any) -> Rendered:
    """The text of an example. Raw: the template, a space, the answer; chat: the assistant's turn is the answer."""
    head, prompt_at = generation_prompt(example.prompt, settings, style, tokenizer)
    join = "" if style == "chat" or head[-1:].isspace() else " "
    text = head + join + example.answer
    return Rendered(text, prompt_at, len(head), len(head) + len(join), special=style == "raw")


def char_spans(example: Example, settings: Settings, rendered: Rendered, loss: Loss) -> list[tuple[int, int]]:
    """Character ranges of the rendered text on which the loss is taken; empty when the rule finds nothing.

    `aligned` is the example's own rule, `full` every answer token (the paper's control), `solution` the
    reference code of a capability with tests.

    Raises:
        InputError: `solution` for a capability without tests.
    """
    rule = example.spans if example.spans is not None else settings.spans
    whole, end = rendered.head, len(rendered.text)
    if loss == "full":
        return [(whole, end)]
    if loss == "solution":
        if not example.tests:
            raise InputError(f"{example.id}: --loss solution is for code with tests; use aligned or full")
        return [(rendered.answer_at, end)]
    if rule == "answer":
        return [(whole, end)]
    if rule == "tests":
        return _occurrences(example.tests, rendered.text)
    if isinstance(rule, RangeSpans):
        at = rendered.prompt_at if rule.part == "prompt" else rendered.answer_at
        return [(at + start, at + stop) for start, stop in rule.ranges]
    at, text = rendered.answer_at, example.answer
    if isinstance(rule, RegexSpans):
        if rule.part == "prompt":
            at, text = rendered.prompt_at, example.prompt
        found = [match.span(min(1, match.re.groups)) for match in re.finditer(rule.regex, text, re.MULTILINE)]
        return [(at + start, at + stop) for start, stop in found if start < stop]
    if rule == "number":
        numbers = list(NUMBER.finditer(text))
        return [(at + numbers[-1].start(), at + numbers[-1].end())] if numbers else []
    marker = rule.removeprefix("after:")
    position = text.rfind(marker)
    return [(at + position + len(marker), end)] if 0 <= position < len(text) - len(marker) else []


NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?|[-−]?\.\d+")
"""A number as people write it: sign, thousands separators, decimals."""


def _occurrences(tests: Sequence[str], text: str) -> list[tuple[int, int]]:
    found = {match.span() for test in tests for match in re.finditer(re.escape(test.strip()), text) if test.strip()}
    return sorted(found)


# --- tokens --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """An example as token ids.

    Attributes:
        ids: token ids, length T.
        offsets: character range of each token in `text`.
        supervised: positions t on which −log p(z_t | z_<t) is taken, ascending; never 0.
    """

    id: str
    text: str
    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    supervised: tuple[int, ...]


@dataclass(frozen=True)
class EncodedSet:
    """Encoded examples, and why others were left out."""

    examples: tuple[Encoded, ...]
    skipped: dict[str, str] = field(default_factory=dict)


def encode(
    example: Example,
    settings: Settings,
    tokenizer: Any,
    style: Style = "raw",
    loss: Loss = "aligned",
    max_tokens: int = CAPTURE_TOKENS,
) -> Encoded | str:
    """Token ids and supervised positions of an example, or the reason why its spans do not survive.

    A token belongs to a span only if its character offsets lie wholly inside it. White space that leads a
    token is not counted, because tokenizers differ in whether they report it: ` 18` belongs to the span `18`.
    """
    rendered = render(example, settings, style, tokenizer)
    spans = char_spans(example, settings, rendered, loss)
    if not spans:
        return "the span rule finds nothing"
    encoding = tokenizer(rendered.text, add_special_tokens=rendered.special, return_offsets_mapping=True)
    ids = encoding["input_ids"][:max_tokens]
    offsets = [tuple(pair) for pair in encoding["offset_mapping"][:max_tokens]]
    inked = [_without_lead(rendered.text, start, end) for start, end in offsets]
    covered = max((end for _, end in offsets), default=0)
    supervised: set[int] = set()
    for start, end in spans:
        inside = {t for t, (a, b) in enumerate(inked) if t > 0 and start <= a < b <= end}
        shown = repr(rendered.text[start:end][:30])
        if covered < end and (loss == "aligned" or not inside):
            return f"the span {shown} is cut off at {max_tokens} tokens"
        if not inside:
            return f"no token lies inside the span {shown}"
        supervised |= inside
    return Encoded(example.id, rendered.text, tuple(ids), tuple(offsets), tuple(sorted(supervised)))


def _without_lead(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without its leading white space; pure white space stays as it is."""
    lead = len(text[start:end]) - len(text[start:end].lstrip())
    return (start + lead, end) if start + lead < end else (start, end)


def encode_all(
    examples: Iterable[Example],
    settings: Settings,
    tokenizer: Any,
    style: Style = "raw",
    loss: Loss = "aligned",
    max_tokens: int = CAPTURE_TOKENS,
) -> EncodedSet:
    """Encode examples; those whose spans do not survive are listed with the reason.

    Raises:
        InputError: no example survives.
    """
    kept, skipped = [], {}
    for example in examples:
        result = encode(example, settings, tokenizer, style, loss, max_tokens)
        if isinstance(result, Encoded):
            kept.append(result)
        else:
            skipped[example.id] = result
    if not kept:
        reason = f"; the first, {next(iter(skipped))}: {next(iter(skipped.values()))}" if skipped else ""
        raise InputError(f"no example of {settings.capability} survives ({len(skipped)} skipped{reason})")
    return EncodedSet(tuple(kept), skipped)
