"""One item in full: what was read, what is right, what every subject answered and from where its answer was read.

Model text is only ever text: it goes through a template that escapes it.
"""

from collections.abc import Iterator
from typing import Any

import streamlit as st

from app.evaluation.item_pairs import shortened, verdict
from app.side_by_side import opening
from app.ui import session
from app.ui.widgets import caption, counted, escaped
from spd_core.errors import SpdError
from spd_core.evaluation.answer_places import answer_place, characters_read
from spd_core.evaluation.budgets import Budget
from spd_core.evaluation.cells import Cell
from spd_core.evaluation.store import About, ItemRecord
from spd_core.evaluation.table import Answered, Table
from spd_core.runs.folder import recorded_runs
from spd_core.templates import render
from spd_core.text import shown

LINKED = (session.ITEM_SUBJECT, session.ITEM_SET, session.ITEM_SEED, session.ITEM_FILTER, session.ITEM)
"""What a copied link restores: whose answers to which items are read, and which one."""


def item_panel(record: ItemRecord, mine: Answered, cell: Cell, table: Table) -> None:
    """The item, the answers of all subjects beside each other, and the way to Side by side."""
    left, right = st.columns((3, 2), gap="medium")
    with left:
        _text("What the model read", record.prompt)
    with right:
        _text("Right answer", record.gold)
    st.html(render("item.html", **answers_of(record, mine, cell, table)))
    marks = "" if mine.likelihood else "**Marked**: from where the answer was read; grey: no longer read. "
    caption(f"{marks}The base comes first, then the subject that is chosen above.")
    _open_button(record, mine, table, cell)


def _text(title: str, text: str) -> None:
    caption(f"**{escaped(title)}**")
    st.code(shown(text), language=None, wrap_lines=True)


def answers_of(record: ItemRecord, mine: Answered, cell: Cell, table: Table) -> dict[str, Any]:
    """What the template `item.html` takes: a column for each subject that has answered the set, with the same seed
    where it has several; the base first, then the subject that is chosen."""
    found = [
        (one, at, next((answer for answer in one.items[at] if answer.id == record.id), None))
        for subject in table.recipe.subjects
        if (one := table.answered.get((subject.name, cell.set))) is not None
        for at in [next((at for at, other in enumerate(one.cells) if other.seed == cell.seed), 0)]
    ]
    answers = [
        _answer(answer, one, one.cells[at], one.subject.name == mine.subject.name)
        | {"trained": trained_on(table.budgets.get(one.subject.name))}
        for one, at, answer in sorted(found, key=lambda each: _rank(each[0], mine))
        if answer is not None
    ]
    return {"label": f"Answers of {counted(len(answers), 'subject')} to {record.id}", "answers": answers}


def _rank(one: Answered, mine: Answered) -> tuple[bool, bool]:
    return one.subject.kind != "base", one.subject.name != mine.subject.name


def _answer(answer: ItemRecord, one: Answered, cell: Cell, chosen: bool) -> dict[str, Any]:
    seed = f", seed {cell.seed}" if len(one.cells) > 1 else ""
    likelihood = answer.nll is not None
    return {
        "who": f"{one.subject.title}{seed}",
        "chosen": chosen,
        "verdict": f"{answer.nll:.4f} nats" if likelihood else verdict(answer),
        "kind": "nats" if likelihood else "right" if answer.correct else "wrong",
        "read": None if likelihood else "nothing" if answer.extracted is None else shortened(answer.extracted) or "∅",
        "likelihood": answer.nll,
        "parts": list(completion_parts(answer, cell.about)),
        "how": how_it_ended(answer),
        "reason": answer.reason,
    }


def completion_parts(answer: ItemRecord, about: About) -> Iterator[tuple[str, str]]:
    """A completion in pieces: `read` for the place the answer was read from, `unread` for what came too late, else
    empty."""
    text, end = answer.completion, characters_read(answer, about)
    place = answer_place(answer, about) or (end, end)
    pieces = [(text[: place[0]], ""), (text[slice(*place)], "read"), (text[place[1] : end], ""), (text[end:], "unread")]
    yield from ((piece, what) for piece, what in pieces if piece)


def trained_on(budget: Budget | None) -> str:
    """What was written to train who answered; empty where it was not trained, or nobody knows."""
    if budget is None:
        return ""
    own = f"trained on {budget.written:,} tokens of its own"
    return own if budget.taught is None else f"{own}, beside {budget.taught:,} of its teacher's"


def how_it_ended(answer: ItemRecord) -> str:
    """`12 tokens, stopped at end of text`."""
    tokens = counted(answer.tokens, "token")
    if answer.nll is not None:
        return f"−log p a token, mean over {tokens} of the right answer"
    if answer.finish == "eos":
        return f"{tokens}, stopped at end of text"
    return f"{tokens}, {'went on with a question of its own' if answer.ended else 'ran into the length limit'}"


def _link() -> dict[str, str]:
    """What leads back to this item."""
    return {
        key: value
        for key in (session.EVALUATION_RUN, session.RESULTS_PART, *LINKED)
        if (value := st.query_params.get(key))
    }


def _open_button(record: ItemRecord, mine: Answered, table: Table, cell: Cell) -> None:
    try:
        beside = sorted({other.capture for one in table.answered.values() for other in one.cells if other.capture})
        found = opening.how_to_open(table.recipe, mine.subject, cell, record, _link(), beside)
    except SpdError as error:
        made_in = {ref.partition("/")[0] for ref in (cell.capture, cell.adapter)}
        if made_in & {run.id for run in recorded_runs()}:
            caption("What answered is not part of what was recorded, so this item cannot be opened in Side by side.")
        else:
            caption(f"It cannot be opened in Side by side: {escaped(str(error))}.")
        return
    if st.button(
        "Open in Side by side",
        icon=":material/splitscreen_right:",
        help=f"The same prompt, letter for letter, greedy as here, with a lane for {shown(mine.subject.title)} beside "
        "the raw one",
    ):
        opening.open_item(found)
    for note in found.notes:
        caption(escaped(note))
