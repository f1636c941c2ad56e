"""Knows which tokens decide: renders an example as text, finds its spans, and maps them to tokens.

Needs a tokenizer's character offsets, and knows nothing of models or gradients.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from spd_core.data.capability import CONTINUED, Example, Loss, RangeSpans, RegexSpans, Settings, Style
from spd_core.data.patterns import find_spans
from spd_core.errors import InputError

CAPTURE_TOKENS = 256
"""Longest example when capturing, in tokens (SPD paper)."""


def longest_example(context: int) -> int:
    """Longest example for a model with this context, in tokens."""
    return min(CAPTURE_TOKENS, context)


NUMBER = re.compile(r"[-−]?\d+(?:,\d+)*(?:\.\d+)?|[-−]?\.\d+")
"""A number as people write it: sign, thousands separators, decimals."""


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
        raise InputError("this model has no chat template; use the plain one (prompt format raw)")
    text = _in_chat(prompt, tokenizer)
    at = _in_chat("\0", tokenizer).find("\0")  # searching for the prompt itself could find the template's own words
    if not text.startswith(prompt, at):
        raise InputError(f"the chat template changes the prompt {prompt[:40]!r}; use the plain one (prompt format raw)")
    return text, at


def _in_chat(prompt: str, tokenizer: Any) -> str:
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    return text


def render_prompt(example: Example, settings: Settings, style: Style, tokenizer: Any) -> Rendered:
    """The text of an example. Raw: the template, a space, the answer; chat: the assistant's turn is the answer."""
    head, prompt_at = generation_prompt(example.prompt, settings, style, tokenizer)
    goes_on = settings.template == CONTINUED and example.answer[:1].isspace()
    join = "" if style == "chat" or goes_on or head[-1:].isspace() else " "
    text = head + join + example.answer
    return Rendered(text, prompt_at, len(head), len(head) + len(join), special=style == "raw")


def char_spans(example: Example, settings: Settings, rendered: Rendered, loss: Loss) -> list[tuple[int, int]]:
    """Character ranges of the rendered text on which the loss is taken; empty when the rule finds nothing.

    `aligned` is the example's own rule, `full` every answer token (the paper's control), `solution` the
    reference code of a capability with tests.

    Raises:
        InputError: `solution` for a capability without tests; a pattern that takes too long.
    """
    rule = example.spans if example.spans is not None else settings.spans
    whole, end = rendered.head, len(rendered.text)
    if loss == "full":
        return [(whole, end)]
    if loss == "solution":
        if not example.tests:
            raise InputError(f"{example.id}: the loss solution is for code with tests; use aligned or full")
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
        return [(at + start, at + stop) for start, stop in find_spans(rule.regex, text)]
    if rule == "number":
        numbers = list(NUMBER.finditer(text))
        return [(at + numbers[-1].start(), at + numbers[-1].end())] if numbers else []
    marker = rule.removeprefix("after:")
    position = text.rfind(marker)
    return [(at + position + len(marker), end)] if 0 <= position < len(text) - len(marker) else []


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

    def continues(self, t: int) -> bool:
        """Whether token t is a further part of characters that the token before it has begun, such as an emoji."""
        start, end = self.offsets[t]
        return t > 0 and start < end <= self.offsets[t - 1][1]


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
    rendered = render_prompt(example, settings, style, tokenizer)
    spans = char_spans(example, settings, rendered, loss)
    if not spans:
        return "the span rule finds nothing"
    encoding = tokenizer(  # lengths are checked below, in words of ours
        rendered.text, add_special_tokens=rendered.special, return_offsets_mapping=True, verbose=False
    )
    offsets = [tuple(pair) for pair in encoding["offset_mapping"]]
    inked = [_without_lead(rendered.text, start, end) for start, end in offsets]
    supervised: set[int] = set()
    for start, end in spans:
        inside = {t for t, (a, b) in enumerate(inked) if t > 0 and start <= a < b <= end}
        kept = {t for t in inside if t < max_tokens}
        shown = repr(rendered.text[start:end][:30])
        if not inside:
            return f"no token lies inside the span {shown}"
        if len(kept) < len(inside) and (loss == "aligned" or not kept):
            return f"the span {shown} is cut off at {max_tokens} tokens"
        supervised |= kept
    ids = tuple(encoding["input_ids"][:max_tokens])
    return Encoded(example.id, rendered.text, ids, tuple(offsets[:max_tokens]), tuple(sorted(supervised)))


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
