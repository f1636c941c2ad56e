"""Scores text and does the statistics. Runs a model only for the likelihood of a reference answer."""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from spd_core.capability import Example, Settings
from spd_core.errors import InputError
from spd_core.gradients import batch_losses, longest_first
from spd_core.models import LanguageModel
from spd_core.spans import NUMBER, EncodedSet

NUMBER_TOLERANCE = 1e-4
CODE_SECONDS = 10


def answer_part(completion: str, settings: Settings) -> str:
    """The completion up to where the model begins a question of its own (the template's first words again)."""
    opening = settings.template.split("{prompt}")[0].strip()
    return completion.split(f"\n{opening}")[0] if opening else completion


def is_correct(example: Example, settings: Settings, completion: str) -> bool:
    """Whether a completion is right under the capability's scorer.

    `number`: the last number equals the reference's last number within 1e-4. `letter`: the first option letter
    that stands alone. `exact`: the first line, normalised. `python`: the code passes the example's tests.

    Raises:
        InputError: the capability is scored by likelihood (`nll`), which has no right or wrong.
    """
    text = answer_part(completion, settings)
    if settings.scorer == "number":
        written, gold = last_number(text), last_number(example.answer)
        return written is not None and gold is not None and abs(written - gold) <= NUMBER_TOLERANCE
    if settings.scorer == "letter":
        return first_letter(text) == example.answer.strip()
    if settings.scorer == "exact":
        return normalised(text) == normalised(example.answer)
    if settings.scorer == "python":
        return passes(code_in(text), example.tests, example.setup)
    raise InputError(f"{settings.capability} is scored by likelihood; use reference_nll")


def last_number(text: str) -> float | None:
    """The last number in a text, thousands separators removed."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "").replace("−", "-")) if found else None


def first_letter(text: str) -> str | None:
    """The first of A, B, C, D that stands alone."""
    found = re.search(r"(?<![A-Za-z0-9'])([A-D])(?![A-Za-z0-9'])", text)
    return found.group(1) if found else None


def normalised(text: str) -> str:
    """The first line that is not empty, in lower case, without outer brackets, quotes and punctuation."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[0].casefold()).strip(" .,:;!\"'()[]") if lines else ""


_CODE_LINE = re.compile(r"(async def|def|class|import|from|@)\b|@")


def code_in(text: str) -> str:
    """The code of a completion, however it is wrapped.

    Code that begins before the first fence ends there; else the first fenced block is taken (to the end when it
    is never closed); without a fence all of it. Prose after the last function is left out.
    """
    lines = text.splitlines()
    fences = [at for at, line in enumerate(lines) if line.lstrip().startswith("```")]
    starts = [at for at, line in enumerate(lines) if _CODE_LINE.match(line.lstrip())]
    if fences and not (starts and starts[0] < fences[0]):
        lines = lines[fences[0] + 1 : fences[1] if len(fences) > 1 else None]
    elif fences:
        lines = lines[: fences[0]]
    return "\n".join(_without_prose(lines))


def _without_prose(lines: list[str]) -> list[str]:
    """Lines up to the first that stands at the margin after a function and is neither code's nor a comment."""
    first = next((line for line in lines if line.strip()), "")
    if _CODE_LINE.match(first.lstrip()):  # the model's first line often carries the space after "Code:"
        lines = [line[1:] if line is first and line.startswith(" ") else line for line in lines]
    inside = False
    for at, line in enumerate(lines):
        if _CODE_LINE.match(line):
            inside = True
        elif inside and line.strip() and not line[0].isspace() and line[0] not in "#)]}":
            return lines[:at]
    return lines


_PRELUDE = f"""import resource
for name, limit in (("AS", {2**30}), ("FSIZE", {2**20}), ("CPU", {CODE_SECONDS})):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
del resource, name, limit
"""


def passes(code: str, tests: Sequence[str], setup: str = "") -> bool:
    """Whether code passes its tests, in a Python process of its own with limits on time, memory and file size.

    The process is isolated from the environment and works in an empty folder, and is no sandbox: it runs what
    the model wrote with the rights of the user. Only a process that reaches the end of the tests passes: it
    says a random word there, so that `exit()` before them does not count.
    """
    word = secrets.token_hex(16)
    parts = [setup, code, *tests]  # each compiled by itself: an open bracket in one cannot swallow the next
    program = f"{_PRELUDE}for _part in {parts!r}:\n    exec(_part, globals())\nprint({word!r})\n"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:  # a file: its size is limited
        process = subprocess.Popen(
            [sys.executable, "-I", "-"],  # read from stdin: an argument has a greatest length
            cwd=folder,
            env={},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.communicate(program.encode(), timeout=CODE_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.wait()
        output.seek(0)
        return process.returncode == 0 and output.read().rstrip().endswith(word.encode())


def reference_nll(lm: LanguageModel, encoded: EncodedSet, batch_size: int = 8) -> dict[str, float]:
    """Mean −log p over the supervised tokens of each example, in nats, by example id (CodeAlpaca's score)."""
    losses: dict[str, float] = {}
    for batch in longest_first(encoded.examples, batch_size):
        with lm.lock, torch.inference_mode():
            found = batch_losses(lm, batch).tolist()
        losses |= {example.id: loss for example, loss in zip(batch, found, strict=True)}
    return losses


@dataclass(frozen=True)
class Accuracy:
    """A share with its 95 % Wilson interval.

    Attributes:
        correct: number right, of `n`.
        low: lower end of the interval, a share between 0 and 1; `high` the upper end.
    """

    correct: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """correct / n."""
        return self.correct / self.n


def accuracy(results: Sequence[bool]) -> Accuracy:
    """Accuracy with its 95 % Wilson score interval (Wilson, 1927; by scipy).

    Raises:
        InputError: no result.
    """
    from scipy.stats import binomtest

    if not results:
        raise InputError("no result to count; score at least one example")
    interval = binomtest(sum(results), len(results)).proportion_ci(method="wilson")
    return Accuracy(sum(results), len(results), float(interval.low), float(interval.high))
