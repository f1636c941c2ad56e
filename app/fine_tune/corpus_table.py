"""One corpus as a table: filters, right or wrong, and a tick for each row that a person may take out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import streamlit as st

from app.fine_tune import rejecting
from app.fine_tune.corpus import FATES, ShownCorpus
from app.fine_tune.rejecting import Ticks
from app.ui import session
from app.ui.tables import to_csv
from app.ui.widgets import caption, download
from spd_core.distill.corpus import CorpusRow

if TYPE_CHECKING:
    from pandas import DataFrame

    from spd_core.runs.folder import Run

_FILTERS: Mapping[str, Callable[[ShownCorpus, CorpusRow], bool]] = {
    "all": lambda one, row: True,
    "right": lambda one, row: one.right.get(row.number) is True,
    "wrong": lambda one, row: one.right.get(row.number) is False,
    "trained on": lambda one, row: one.fates.get(row.number) == "trained",
    "rejected": lambda one, row: one.fates.get(row.number) == "rejected",
    "left out": lambda one, row: one.fates.get(row.number) in ("leakage", "empty", "degenerate", "duplicate"),
    "held out": lambda one, row: one.fates.get(row.number) == "held out",
    "stopped at end of text": lambda one, row: row.finish == "eos",
    "cut": lambda one, row: row.finish == "length",
}
_COLUMNS = {
    "keep": st.column_config.CheckboxColumn("Keep", width=72, help="Untick a row to reject it: saved at once."),
    "prompt": st.column_config.TextColumn("Prompt", width=160),  # on a phone, what was written stands beside it
    "completion": st.column_config.TextColumn("Completion", width=360),
    "answer": st.column_config.TextColumn("Reference", width=80),
    "right": st.column_config.TextColumn("Right?", width=80),
    "fate": st.column_config.TextColumn("In training", width=245),
    "tokens": st.column_config.NumberColumn("Tokens", width=65),
    "ended": st.column_config.TextColumn("Ended", width=75),
    "number": st.column_config.NumberColumn("Row", width=50),
}


def panel(run: "Run", one: ShownCorpus, *, editable: bool) -> None:
    """The table of a corpus."""
    _summary(one)
    chosen = _pick_filter(one)
    rows = [row for row in one.rows if _FILTERS[chosen](one, row)]
    if not rows:
        caption("No rows match: choose another filter.")
    elif editable:
        _editor(run, one, rows, chosen)
    else:
        st.dataframe(
            frame_of(one, rows, None),
            column_config=_COLUMNS,
            hide_index=True,
            height=_height(rows),
            alt="The rows of a corpus: prompt, completion, right answer, and what becomes of each in training",
        )
    with st.container(horizontal=True):
        name = f"{run.id}-{one.path.stem}"
        download("Corpus as CSV", lambda: to_csv(frame_of(one, one.rows, None)), f"{name}.csv")
        download("Corpus as JSONL", one.path.read_bytes, f"{name}.jsonl")


def _summary(one: ShownCorpus) -> None:
    """The state first: how much is trained on, and where the rest has gone."""
    counts = Counter(one.fates.values())
    rest = [f"{counts[fate]} {words}" for fate, words in FATES.items() if counts[fate] and fate != "trained"]
    lost = len(one.rows) - len(one.fates)
    rest += [f"{lost} of an example that is gone"] if lost else []
    right = f" **{sum(one.right.values())} of {len(one.right)}** are right." if one.right else ""
    st.markdown(f"**{one.trained} of {len(one.rows)} rows** are trained on{'; ' * bool(rest)}{', '.join(rest)}.{right}")


def _pick_filter(one: ShownCorpus) -> str:
    counts = {name: sum(fits(one, row) for row in one.rows) for name, fits in _FILTERS.items()}
    options = [name for name, count in counts.items() if count or name == "all"]
    if st.session_state.get(session.CORPUS_FILTER) not in (None, *options):
        st.session_state[session.CORPUS_FILTER] = "all"  # the last such row has been ticked
    chosen = st.pills(
        "Rows",
        options,
        default="all",
        key=session.CORPUS_FILTER,
        format_func=lambda name: f"{name} · {counts[name]}",
        label_visibility="collapsed",
    )
    return chosen if chosen in options else "all"


# --- the table ---------------------------------------------------------------------------------------------------


def _editor(run: "Run", one: ShownCorpus, rows: Sequence[CorpusRow], chosen: str) -> None:
    """The table with ticks; each is saved when it is made, and once more before anything is drawn from it."""
    ticks = _ticks(run, one, rows, chosen)

    def save() -> None:
        rejecting.save_ticks(run, ticks)

    st.data_editor(
        frame_of(one, rows, ticks.kept),
        column_config=_COLUMNS,
        hide_index=True,
        height=_height(rows),
        key=ticks.key,
        on_change=save,
        disabled=[name for name in _COLUMNS if name != "keep"],
    )
    if ticks.now() != {row.number: one.fates.get(row.number) == "trained" for row in rows if one.tickable(row.number)}:
        save()
        st.rerun()


def _ticks(run: "Run", one: ShownCorpus, rows: Sequence[CorpusRow], chosen: str) -> Ticks:
    """The ticks of the table as it was drawn first: its edits are told relative to that."""
    state = st.session_state
    now = {row.number: one.fates[row.number] == "trained" for row in rows if one.tickable(row.number)}
    known = state.get(session.CORPUS_TABLE)
    if isinstance(known, Ticks) and known.key in state and known.kept.keys() != now.keys():
        rejecting.redraw_ticks()  # what hygiene finds in the others has changed
    key = f"{session.CORPUS_TABLE}_{run.id}_{one.path.stem}_{chosen}_{state.get(session.CORPUS_TIMES, 0)}"
    if isinstance(known, Ticks) and known.key == key and key in state:
        return known
    state[session.CORPUS_TABLE] = ticks = Ticks(run.id, one.name, key, now, tuple(row.number for row in rows))
    state[session.CORPUS_EDITED] = {key: now}
    return ticks


def frame_of(one: ShownCorpus, rows: Sequence[CorpusRow], kept: Mapping[int, bool] | None) -> "DataFrame":
    """Rows as the table shows them; with ticks where `kept` says, and none for rows that are nobody's choice."""
    import pandas as pd

    found = pd.DataFrame([_line(one, row) for row in rows])
    if kept is None:
        return cast("DataFrame", found)
    found.insert(0, "keep", pd.array([kept.get(row.number) for row in rows], dtype="boolean"))
    # what the person has ticked since would make another table of it, and the ticks would jump
    found["fate"] = ["" if row.number in kept else FATES.get(one.fates.get(row.number, "trained"), "") for row in rows]
    return cast("DataFrame", found)


def _line(one: ShownCorpus, row: CorpusRow) -> dict[str, object]:
    right = one.right.get(row.number)
    return {
        "prompt": one.prompt(row),
        "completion": row.completion,
        "answer": one.answer(row),
        "right": "" if right is None else "✓ right" if right else "✗ wrong",
        "fate": FATES[one.fates[row.number]] if row.number in one.fates else "its example is gone",
        "tokens": len(row.tokens),
        "ended": "by itself" if row.finish == "eos" else "cut",
        "number": row.number,
    }


def _height(rows: Sequence[CorpusRow]) -> int:
    return min(38 + 35 * len(rows), 423)
