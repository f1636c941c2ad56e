"""Where in a completion the answer stands that was read out of it: what a page marks. Decides nothing."""

import unicodedata

from spd_core.data.capability import Example
from spd_core.evaluation.rewritten import Rewritten
from spd_core.evaluation.scoring import (
    Stretch,
    answer_end,
    find_letter,
    find_number,
    option_letters,
    written_as_fraction,
)
from spd_core.evaluation.store import About, ItemRecord


def answer_place(record: ItemRecord, about: About) -> Stretch | None:
    """The characters of the completion that its answer was read from, found by the scorer's own rules.

    `number`: the last number. `letter`: the option letter. `exact`: what is left of the first line. `python`: the lines
    of the code that was run. None where no answer was read, and where the rules now read another one: a mark that may
    be wrong is not made.
    """
    if record.extracted is None:
        return None
    text = record.completion[: answer_end(record.completion, about.template)]
    if about.scorer == "number":
        number = find_number(text, written_as_fraction(record.gold))
        return number[1] if number is not None and str(number[0]) == record.extracted else None
    if about.scorer == "letter":
        letter = find_letter(text, option_letters(Example(prompt=record.prompt or " ", answer=record.gold or " ")))
        return letter[1] if letter is not None and letter[0] == record.extracted else None
    return _line(text, record.extracted) if about.scorer == "exact" else _lines(text, record.extracted)


def characters_read(record: ItemRecord, about: About) -> int:
    """How many characters of the completion count as its answer; what comes after is of a question of its own."""
    return answer_end(record.completion, about.template) if about.scorer != "nll" else 0


def _line(text: str, extracted: str) -> Stretch | None:
    """The words of the first line that are the answer; the whole line where normalising has moved them about."""
    start = 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            break
        start += len(line)
    else:
        return None
    first, after = start + len(line) - len(line.lstrip()), start + len(line.rstrip())
    folded = Rewritten.of(text[first:after], first).sub(
        "(?s).", lambda found: unicodedata.normalize("NFKC", found[0]).casefold()
    )
    bare = folded.sub(r"\s+", " ")
    at = bare.text.rfind(extracted)
    return bare.place(at, at + len(extracted)) if at >= 0 and extracted else (first, after)


def _lines(text: str, code: str) -> Stretch | None:
    """The lines of the code, which may be indented or after `>>>` in the completion."""
    wanted = [line.strip() for line in code.splitlines()]
    lines = text.splitlines(keepends=True)
    bare = [line.strip().removeprefix(">>>").removeprefix("...").strip() for line in lines]
    for at in range(len(lines) - len(wanted) + 1):
        if bare[at : at + len(wanted)] == wanted:
            start = sum(map(len, lines[:at]))
            return start, start + len("".join(lines[at : at + len(wanted)]).rstrip())
    return None
