"""Items as the base and a subject answered them: which to show, and what a row says of each. Pure: no Streamlit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spd_core.evaluation.store import ItemRecord
from spd_core.evaluation.table import Answered
from spd_core.text import shown

_CUT = 160  # characters of a text in the table; all of it is below
ALL, UNREAD, LIMIT = "all", "could not be read", "ran into the length limit"
GAINED, LOST = "base wrong → subject right", "base right → subject wrong"
FALLS, RISES = "largest falls (better)", "largest rises (worse)"


@dataclass(frozen=True)
class Pair:
    """An item as the base and as the subject answered it; the base alone has no `base`."""

    mine: ItemRecord
    base: ItemRecord | None = None

    @property
    def change(self) -> float:
        """Subject − base, in the unit of the score."""
        return self.mine.value - (self.mine if self.base is None else self.base).value

    @property
    def text(self) -> str:
        """Everything that a search looks through."""
        written = self.base.completion if self.base is not None else ""
        return "\n".join((self.mine.id, self.mine.prompt, self.mine.gold, self.mine.completion, written)).casefold()


_FILTERS: Mapping[str, Callable[[Pair], bool]] = {
    ALL: lambda pair: True,
    GAINED: lambda pair: pair.change > 0,
    LOST: lambda pair: pair.change < 0,
    "both wrong": lambda pair: pair.change == 0 and not pair.mine.correct,
    "both right": lambda pair: pair.change == 0 and bool(pair.mine.correct),
    "right": lambda pair: bool(pair.mine.correct),
    "wrong": lambda pair: not pair.mine.correct,
    UNREAD: lambda pair: pair.mine.extracted is None,
    LIMIT: lambda pair: pair.mine.finish == "length",
    FALLS: lambda pair: pair.change < 0,
    RISES: lambda pair: pair.change > 0,
}


_COMPARED = (ALL, GAINED, LOST, "both wrong", "both right", UNREAD, LIMIT)
_ALONE = (ALL, "right", "wrong", UNREAD, LIMIT)


def paired_items(mine: Answered, base: Answered | None, at: int = 0) -> list[Pair]:
    """The items of a set with one of the subject's seeds; the base has been asked the same, in the same order."""
    records = mine.items[at]
    if base is None or base.subject.name == mine.subject.name:
        return [Pair(record) for record in records]
    return [Pair(record, other) for record, other in zip(records, base.items[0], strict=True)]


def filters(pairs: Sequence[Pair], likelihood: bool) -> tuple[str, ...]:
    """The filters that make sense of these items."""
    compared = bool(pairs) and pairs[0].base is not None
    if likelihood:
        return (ALL, FALLS, RISES) if compared else (ALL,)
    return _COMPARED if compared else _ALONE


def filtered(pairs: Sequence[Pair], name: str, search: str = "") -> list[Pair]:
    """The items that a filter and a search leave; falls and rises the largest first."""
    found = [pair for pair in pairs if _FILTERS[name](pair) and search.strip().casefold() in pair.text]
    return sorted(found, key=lambda pair: -abs(pair.change)) if name in (FALLS, RISES) else found


def table_rows(pairs: Sequence[Pair], likelihood: bool) -> list[dict[str, Any]]:
    """What the table shows of each item; texts cut, their white space drawn together."""
    return [_likelihood_row(pair) if likelihood else _answer_row(pair) for pair in pairs]


def _answer_row(pair: Pair) -> dict[str, Any]:
    both = [(who, one) for who, one in (("base", pair.base), ("subject", pair.mine)) if one is not None]
    row = {"prompt": shortened(pair.mine.prompt)} | {f"{who}_right": verdict(one) for who, one in both}
    row |= {"gold": shortened(pair.mine.gold)}
    row |= {f"{who}_answer": shortened(one.extracted or "–") for who, one in both}
    row |= {f"{who}_text": shortened(one.completion) for who, one in both}
    return (
        row | ({"reason": shortened(pair.mine.reason)} if pair.mine.reason else {}) | {"item": shortened(pair.mine.id)}
    )


def _likelihood_row(pair: Pair) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": shortened(pair.mine.prompt), "gold": shortened(pair.mine.gold)}
    if pair.base is not None:
        row |= {"base_nats": pair.base.value, "change": pair.change}
    return row | {"subject_nats": pair.mine.value, "item": shortened(pair.mine.id)}


def verdict(record: ItemRecord) -> str:
    """`✓ right`, or `✗ wrong`: in words, too."""
    return "✓ right" if record.correct else "✗ wrong"


def shortened(text: str) -> str:
    """A text in one line, at most so long; control characters as escapes."""
    line = " ".join(shown(text).split())
    return line if len(line) <= _CUT else f"{line[: _CUT - 1]}…"
