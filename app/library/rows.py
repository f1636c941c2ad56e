"""How things are put into words and rows; draws nothing."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from app.ui.widgets import counted
from spd_core.library.labels import Label
from spd_core.library.shelf import Shelf
from spd_core.library.things import KINDS, Ref, Thing, ThingKind
from spd_core.text import shown

NAMES: Mapping[ThingKind, str] = {
    "capture": "capture",
    "text": "text",
    "repeat": "repeat",
    "run": "fine-tuning run",
    "adapter": "adapter",
    "evaluation": "evaluation",
    "answers": "set of answers",
    "capability": "capability",
}
"""What a thing of each kind is called."""
_PLURALS = {"answers": "sets of answers", "capability": "capabilities"}


def many(n: int, kind: ThingKind) -> str:
    """`1 capability`, `2 capabilities`."""
    return f"{n} {_PLURALS[kind]}" if kind in _PLURALS and n != 1 else counted(n, NAMES[kind])


def size_in_words(size: float) -> str:
    """Bytes for people: `340 KB`, `2.6 MB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{max(1, round(size / 1e3))} KB" if size else "0 KB"


def kinds_in_words(things: Iterable[Thing]) -> str:
    """`2 captures, 1 text and 1 adapter`, in the order of the kinds."""
    counts = Counter(one.ref.kind for one in things)
    parts = [many(counts[kind], kind) for kind in KINDS if counts[kind]]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "nothing"


def summary(things: Collection[Thing], shelf: Shelf) -> str:
    """What is kept in a sentence or three: how much, of which kinds, and what cannot be relied on."""
    damaged = [one for one in things if one.problem]
    lacking = [one for one in things if shelf.missing(one)]
    first = f"You have {kinds_in_words(things)}, {size_in_words(sum(one.size for one in things))} together."
    if not damaged and not lacking:
        return f"{first} All can be read, and what they stand on is here."
    said = [f"{counted(len(damaged), 'thing')} cannot be read"] * bool(damaged)
    said += [f"{counted(len(lacking), 'thing')} stand{'s' * (len(lacking) == 1)} on what is gone"] * bool(lacking)
    return f"{first} But {' and '.join(said)}."


def title_of(thing: Thing, labels: Mapping[Ref, Label]) -> str:
    """What somebody called a thing, else what it says of itself; on one line."""
    label = labels.get(thing.ref)
    return shown(label.title if label is not None and label.title else thing.title)


def matches_words(thing: Thing, label: Label | None, words: str) -> bool:
    """Whether every word is in a thing's title, name, model, tags or note, whatever its case."""
    parts = [thing.title, str(thing.ref), thing.model, NAMES[thing.ref.kind]]
    parts += [label.title, *label.tags, label.note] if label is not None else []
    text = "\n".join(parts).casefold()
    return all(word in text for word in words.casefold().split())


def condition(thing: Thing, shelf: Shelf) -> str:
    """How a thing is: whole, damaged, or lacking what it stands on."""
    if thing.problem:
        return "✕ damaged"
    gone = len(shelf.missing(thing))
    if gone:
        return f"△ {gone} gone"
    if thing.recorded:
        return "◆ recorded"
    return f"✓ {thing.state}" if thing.state and thing.state != "done" else "✓ whole"


def row_of(thing: Thing, shelf: Shelf, labels: Mapping[Ref, Label]) -> dict[str, Any]:
    """A thing as a row of the table."""
    label = labels.get(thing.ref, Label())
    return {
        "Title": title_of(thing, labels),
        "Kind": NAMES[thing.ref.kind].capitalize(),
        "State": condition(thing, shelf),
        "Size": thing.size,
        "Stands on": len(thing.stands_on),
        "Needed by": len(shelf.standing_on(thing.ref)),
        "Tags": list(label.tags),
        "Made": datetime.fromisoformat(thing.made),
        "Model": shown(thing.model),
        "Name": shown(thing.ref.name),
    }
