"""How often each lane is right, differs from raw and stops by itself, with intervals: the table over prompts and seeds.

Knows numbers only. Seeds of one prompt are no independent evidence: the prompt is the unit, its seeds are averaged, and
intervals speak of these seeds. Of one prompt alone the seed is the unit, and all is said of that prompt alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from spd_core.records import Record


@dataclass(frozen=True)
class Told:
    """What is counted of one text.

    Attributes:
        right: None where nobody knows.
        parts: index of the first token that differs from raw's; None where none does.
        ended: it stopped at end of text.
        degenerate: it is empty or repeats itself.
    """

    right: bool | None
    parts: int | None
    ended: bool
    degenerate: bool


class RepeatShare(Record):
    """How many texts of all, as a share with its 95% interval."""

    count: int
    n: int
    value: float
    low: float
    high: float


class RepeatChange(Record):
    """A difference of two shares on the same prompts and seeds, with its 95% interval and p."""

    value: float
    low: float
    high: float
    p: float

    @property
    def shown(self) -> bool:
        """Whether test and interval both exclude no difference."""
        return self.p < 0.05 and not self.low <= 0 <= self.high


class RepeatRow(Record):
    """One lane.

    Attributes:
        right, beyond_raw: None where the answers are not known; of raw itself there is no difference.
        differs: from raw, anywhere in the text.
        median_token: of the first one that differs (counted from 1), among the texts that do.
    """

    n: int
    right: RepeatShare | None
    beyond_raw: RepeatChange | None
    differs: RepeatShare
    median_token: float | None
    ended: RepeatShare
    degenerate: RepeatShare


class RepeatTable(Record):
    """All lanes, and the lane in question beside its control.

    Attributes:
        unit: what intervals are over; `units` how many there are.
        subject, control: lanes; None where there is no such lane.
        right_beyond_control, differs_beyond_control: of the subject; None without a control, or without answers.
        method: how the intervals of differences are made.
    """

    unit: Literal["prompt", "seed"]
    units: int
    rows: tuple[RepeatRow, ...]
    subject: int | None
    control: int | None
    right_beyond_control: RepeatChange | None
    differs_beyond_control: RepeatChange | None
    method: str


Scores = list[list[float]]
"""[seeds][prompts]; of one prompt alone [1][seeds]."""


def repeat_table(
    told: Sequence[Sequence[Sequence[Told]]], subject: int | None = None, control: int | None = None
) -> RepeatTable:
    """The table of `told` texts, [prompts][seeds][lanes], the first lane being what the others are compared with."""
    lanes = range(len(told[0][0]))
    columns = [[[texts[lane] for texts in seeds] for seeds in told] for lane in lanes]
    known = all(one.right is not None for seeds in told for texts in seeds for one in texts)
    right = [_scores(column, "right") for column in columns]
    differs = [_scores(column, "differs") for column in columns]
    right_beyond, differs_beyond = None, None
    if subject is not None and control is not None:
        differs_beyond = _change(differs[control], differs[subject])
        right_beyond = _change(right[control], right[subject]) if known else None
    rows = tuple(
        _row(columns[lane], right[lane] if known else None, right[0] if lane else None, differs[lane]) for lane in lanes
    )
    return RepeatTable(
        unit="prompt" if len(told) > 1 else "seed",
        units=len(right[0][0]),
        rows=rows,
        subject=subject,
        control=control,
        right_beyond_control=right_beyond,
        differs_beyond_control=differs_beyond,
        method=_method(right if known else differs),
    )


def _scores(column: Sequence[Sequence[Told]], what: str) -> Scores:
    """What is counted of a lane, as the statistics take it."""
    by_prompt = [[float(_counts(one, what)) for one in seeds] for seeds in column]
    if len(by_prompt) == 1:
        return by_prompt
    return [list(seed) for seed in zip(*by_prompt, strict=True)]


def _counts(one: Told, what: str) -> bool:
    if what == "right":
        return bool(one.right)
    return one.parts is not None if what == "differs" else one.ended if what == "ended" else one.degenerate


def _row(column: Sequence[Sequence[Told]], right: Scores | None, raw: Scores | None, differs: Scores) -> RepeatRow:
    forks = [one.parts + 1 for seeds in column for one in seeds if one.parts is not None]
    return RepeatRow(
        n=sum(map(len, column)),
        right=None if right is None else _share(right),
        beyond_raw=None if right is None or raw is None else _change(raw, right),
        differs=_share(differs),
        median_token=median(forks) if forks else None,
        ended=_share(_scores(column, "ended")),
        degenerate=_share(_scores(column, "degenerate")),
    )


def _share(scores: Scores) -> RepeatShare:
    from spd_core.evaluation.statistics import estimate

    found = estimate(scores, binary=True)
    count, n = round(sum(map(sum, scores))), sum(map(len, scores))
    return RepeatShare(count=count, n=n, value=found.value, low=found.interval.low, high=found.interval.high)


def _change(base: Scores, other: Scores) -> RepeatChange:
    from spd_core.evaluation.statistics import paired

    found = paired(base, other, binary=True)
    return RepeatChange(value=found.effect, low=found.interval.low, high=found.interval.high, p=found.p)


def _method(scores: Sequence[Scores]) -> str:
    from spd_core.evaluation.statistics import paired

    return paired(scores[0], scores[-1], binary=True).method
