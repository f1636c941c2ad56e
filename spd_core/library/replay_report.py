"""What replaying finds: a row for each number that was recorded and computed anew, and what differs around them.

Tolerances are bounds that follow from rounding, and nobody sets them. Imports no torch.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from spd_core.subspace.spectrum import EPS

ReplayVerdict: TypeAlias = Literal["matches", "differs", "not determined", "not replayed"]
VERDICTS: tuple[ReplayVerdict, ...] = get_args(ReplayVerdict)
IN_A_LAYER = 10
"""Operations one after another in a layer: norms, projections, attention, the gated MLP, and two additions."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
OF_A_MEAN = 1e-9
"""By how much a mean of the same float64 numbers may be off, relative."""


@dataclass(frozen=True)
class ReplayRow:
    """One recorded number beside the one that was computed now.

    Attributes:
        thing: `kind:name` of what it is of.
        what: which number.
        recorded, recomputed, difference, tolerance: in words, empty where there is none.
        reason: why the tolerance is what it is, or why there is no verdict.
    """

    thing: str
    what: str
    recorded: str = ""
    recomputed: str = ""
    difference: str = ""
    tolerance: str = ""
    verdict: ReplayVerdict = "matches"
    reason: str = ""


@dataclass(frozen=True)
class Surrounding:
    """Something that rounding depends on, as it was then and as it is now."""

    what: str
    recorded: str
    here: str

    @property
    def same(self) -> bool:
        """Whether it is the same; not where nobody noted it."""
        return self.recorded == self.here


@dataclass(frozen=True)
class ReplayReport:
    """What was replayed.

    Attributes:
        surroundings: device, dtype, versions and threads, each once, where a model was asked.
        stopped: it was ended before the last row.
    """

    rows: tuple[ReplayRow, ...]
    surroundings: tuple[Surrounding, ...] = ()
    stopped: bool = False

    def count(self, verdict: ReplayVerdict) -> int:
        """Rows of a verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    @property
    def sentence(self) -> str:
        """What it says in a sentence or three."""
        compared = self.count("matches") + self.count("differs")
        if not compared:
            said = "Nothing could be compared."
        elif not self.count("differs"):
            said = f"All {compared} numbers that could be compared match." if compared > 1 else "The number matches."
        else:
            said = f"{self.count('differs')} of {compared} numbers differ from what was recorded."
        left = [f"{self.count(one)} {one}" for one in VERDICTS[2:] if self.count(one)]
        around = [one.what for one in self.surroundings if not one.same and one.recorded]
        parts = [said, *([f"{' and '.join(left)}.".capitalize()] if left else [])]
        parts += [f"Not as it was: {', '.join(around)}."] if around else []
        return " ".join([*parts, *(["It was stopped before the end."] if self.stopped else [])])


def relative_rounding(dtype: str, layers: int, width: int) -> float:
    """How far gradients may differ, relative to their norm, when the order of operations alone does.

    Every operation rounds its result to `dtype`, half a spacing at most, and a sum of `width` terms is added up in
    float32; independent errors grow as a random walk does, with the square root of their number. So they do over the
    operations that follow one another, there and back through all layers (Higham and Mary, 2019).
    """
    known = dtype if dtype in EPS else "float32"
    of_a_sum = EPS["float64" if known == "float64" else "float32"] / 2 * math.sqrt(width)
    return (EPS[known] / 2 + of_a_sum) * math.sqrt(2 * IN_A_LAYER * layers)


def why_rounding(dtype: str, layers: int, width: int) -> str:
    """The same bound in words."""
    return (
        f"rounding: half a spacing of {dtype} and sums of {width} terms, × √{2 * IN_A_LAYER * layers} operations one "
        "after another"
    )


def number_row(
    thing: str, what: str, recorded: float, recomputed: float, tolerance: float, reason: str, form: str = ".6g"
) -> ReplayRow:
    """A row of two numbers that may differ by `tolerance`."""
    off = abs(recorded - recomputed)
    return ReplayRow(
        thing,
        what,
        format(recorded, form),
        format(recomputed, form),
        in_figures(off),
        in_figures(tolerance),
        "matches" if off <= tolerance else "differs",  # NaN differs
        reason,
    )


def in_figures(value: float, figures: int = 2) -> str:
    """A small number as people write it: `0.0031`, `2.4 × 10⁻⁷`."""
    digits, _, power = f"{value:.{figures}g}".partition("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}" if power else digits


def exact_row(thing: str, what: str, recorded: object, recomputed: object, reason: str = "") -> ReplayRow:
    """A row of two values that must be the same."""
    same = recorded == recomputed
    said = reason or "counted or copied, not rounded: it must be the same"
    return ReplayRow(
        thing,
        what,
        str(recorded),
        str(recomputed),
        "none" if same else "another",
        "none",
        "matches" if same else "differs",
        said,
    )


def not_replayed(thing: str, what: str, reason: str) -> ReplayRow:
    """A row that says why there is nothing to compare."""
    return ReplayRow(thing, what, verdict="not replayed", reason=reason)


def around(recorded: Mapping[str, str], here: Mapping[str, str]) -> tuple[Surrounding, ...]:
    """What rounding depends on, by its name; what only one of the two names is empty in the other."""
    return tuple(Surrounding(name, recorded.get(name, ""), here.get(name, "")) for name in {**recorded, **here})


def each_once(surroundings: Iterable[Surrounding]) -> tuple[Surrounding, ...]:
    """Equal ones once, in the order in which they came first."""
    return tuple(Counter(surroundings))
