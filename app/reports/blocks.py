"""What a report is made of, as plain values that `assets/templates/report.html` draws. Pure: knows no page."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from spd_core.generation.report import TextPart


@dataclass(frozen=True)
class ReportFigure:
    """A figure that follows the reader's theme.

    Attributes:
        draw: makes it, for a dark page or a light one; the same data either way.
        caption: what is seen in it, and how to read it.
        alt: what it shows, for those who cannot see it.
        name: of the file when a reader saves it as a picture.
    """

    draw: "Callable[[bool], go.Figure]"
    caption: str
    alt: str
    name: str
    kind: ClassVar = "figure"


@dataclass(frozen=True)
class ReportTable:
    """A table; columns of numbers are set flush right.

    Attributes:
        folded: whether it opens at a click; printed it is as the reader left it.
    """

    caption: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    kind: ClassVar = "table"

    @property
    def looks(self) -> list[str]:
        """Of each column: `number` where all its cells are some, `short` where no line need break, else empty."""
        return [_look([row[at] for row in self.rows]) for at in range(len(self.names))]


def text_table(caption: str, rows: Sequence[Mapping[str, str]], *, folded: bool = False) -> ReportTable:
    """Rows of texts as a table, with the columns of all of them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return ReportTable(caption, names, [[row.get(name, "") for name in names] for row in rows], folded)


_NUMBER = re.compile(r"[−+–-]?\d[\d,.]*([eE][−+-]?\d+)?\s?[%°×]?|–|")


def _look(cells: Sequence[str]) -> str:
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        return "number"
    return "short" if max(map(len, cells), default=0) <= 18 else ""


@dataclass(frozen=True)
class StripToken:
    """A token of a strip.

    Attributes:
        shade: −10 to 10: the depth of its colour, with its sign.
        tip: all that is known of it.
        marks: of `largest`, `loss`, `aside`; of those of a chunk `chunk`, at its ends `first` and `last`.
        breaks: line breaks after it, which have no colour.
    """

    text: str
    shade: int
    tip: str
    marks: tuple[str, ...] = ()
    breaks: str = ""


@dataclass(frozen=True)
class ReportStrip:
    """A text, token by token, in colours; pointing at a token, or stepping to it, says its numbers.

    Attributes:
        first: index of the token whose numbers stand below it at first, and on paper.
        ends: numbers at both ends of its scale, and their unit.
    """

    title: str
    tokens: Sequence[StripToken]
    diverging: bool
    ends: tuple[str, str, str]
    caption: str
    first: int = 0
    kind: ClassVar = "strip"

    @property
    def lines(self) -> int:
        """Lines of the longest tip, up to 6: so much room is kept for it."""
        return min(max((token.tip.count("\n") + 1 for token in self.tokens), default=1), 6)


@dataclass(frozen=True)
class ReportLane:
    """What one lane wrote.

    Attributes:
        parts: of `generation.report.lane_parts`.
        right: whether its answer is right; None where nobody knows.
        lines: its numbers, and what is projected in it.
    """

    label: str
    parts: "Sequence[TextPart]"
    right: bool | None
    lines: Sequence[str]


@dataclass(frozen=True)
class ReportLanes:
    """Texts of several lanes beside each other, after one prompt."""

    prompt: str
    answer: str | None
    lanes: Sequence[ReportLane]
    caption: str
    kind: ClassVar = "lanes"


@dataclass(frozen=True)
class ReportClaims:
    """Cards of comparisons, as the template `claim.html` takes them."""

    title: str
    claims: Sequence[Mapping[str, Any]]
    kind: ClassVar = "claims"


@dataclass(frozen=True)
class ReportNote:
    """A paragraph between others."""

    text: str
    kind: ClassVar = "note"


Block: TypeAlias = ReportFigure | ReportTable | ReportStrip | ReportLanes | ReportClaims | ReportNote


@dataclass(frozen=True)
class ReportSection:
    """One question and what answers it.

    Attributes:
        name: short, for the list of contents.
        verdict: sentences; the first one stands large, and in the list of contents.
        mood: of the verdict's colour: `page-verdict`, `helps`, `hurts`, `not-shown`.
        mark: a sign before the verdict.
        warnings: a line each, below it.
    """

    name: str
    question: str
    verdict: str
    blocks: Sequence[Block]
    mood: str = "page-verdict"
    mark: str = ""
    warnings: Sequence[str] = ()

    @property
    def first(self) -> str:
        """The first sentence of the verdict."""
        return _sentences(self.verdict)[0]

    @property
    def rest(self) -> str:
        """The other sentences."""
        return _sentences(self.verdict)[1]


def _sentences(text: str) -> tuple[str, str]:
    first, stop, rest = text.partition(". ")
    return (f"{first}." if stop else first), rest


@dataclass(frozen=True)
class Replay:
    """A way to make something of the report anew: what it does, and the program or the command lines."""

    title: str
    code: str


@dataclass(frozen=True)
class Report:
    """Everything that is in one file.

    Attributes:
        facts: what made it: names and values.
    """

    title: str
    subtitle: str
    sections: Sequence[ReportSection]
    facts: Sequence[tuple[str, str]]
    replays: Sequence[Replay] = field(default_factory=tuple)
