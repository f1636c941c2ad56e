"""The corpora of a run: read them, see what hygiene leaves out and why, and reject rows before they are trained on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.ui import session
from app.ui.tables import to_csv
from app.ui.widgets import caption, counted, download, failure
from spd_core.data.catalog import find_capability, held_out_prompts
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.corpus import CorpusRow, Hygiene, clean, read_corpus
from spd_core.errors import InputError, SpdError
from spd_core.recipes.distill import Recipe, short_name

if TYPE_CHECKING:
    from pandas import DataFrame

    from spd_core.runs.folder import Run

_REASONS = {
    "leakage": "prompt overlaps a held-out one",
    "empty": "empty",
    "degenerate": "degenerate",
    "duplicate": "duplicate",
}


def panel(run: "Run", *, open_to_change: bool) -> None:
    """One corpus as a table; while nothing is trained yet, rows can be taken out."""
    written = sorted((run.folder / "corpora").glob("[!.]*.jsonl"))
    files = {path.stem: path for path in written if ".part-" not in path.name}
    if not files:
        caption("No row is written yet. They appear here batch by batch.")
        return
    chosen = st.segmented_control(
        "Corpus",
        tuple(files),
        default=next(iter(files)),
        required=True,
        key=session.CORPUS_SHOWN,
        format_func=_title,
        persist_state="session",
    )
    name = chosen if chosen in files else next(iter(files))
    try:
        rows, rejected = sorted(read_corpus(files[name]), key=lambda row: row.number), run.rejected()
        cleaned = hygiene(run.record.distillation, rows)
    except InputError as error:
        failure("This corpus cannot be read:", str(error))
        return
    arm, _, round_ = name.rpartition("-round-")
    mine = rejected.get(arm, frozenset()) if round_ == "1" else frozenset()
    _summary(rows, cleaned, len(mine))
    reasons = {row.number: _REASONS[reason] for reason, dropped in cleaned.dropped.items() for row in dropped}
    editable = open_to_change and round_ == "1"
    table = [_line(row, mine, reasons) for row in rows]
    edited = _table(table, f"{session.CORPUS_TABLE}_{run.id}_{name}", editable)
    with st.container(horizontal=True, vertical_alignment="center"):
        if editable:
            rejected_now = {
                number for number, keep in zip((row.number for row in rows), edited, strict=True) if not keep
            }
            if st.button("Save what I rejected", disabled=rejected_now == set(mine), icon=":material/save:"):
                _save(run, {**rejected, arm: rejected_now})
        download("Corpus as CSV", lambda: to_csv(table), f"{run.id}-{name}.csv")
        download("Corpus as JSONL", files[name].read_bytes, f"{run.id}-{name}.jsonl")
    if not editable:
        caption("Rows can be rejected before a run trains: tick **Wait for my review** among its settings.")


def hygiene(recipe: Recipe, rows: Sequence[CorpusRow]) -> Hygiene:
    """What a training would leave out, as `stages` finds it; leakage of a public data set only shows in its
    training: the held-out prompts are on the hub.

    Raises:
        InputError: the capability is gone.
    """
    if recipe.capability in PUBLIC_SETS:
        return clean(rows, {row.id: row.prompt for row in rows}, drop=recipe.corpus.drop)
    prompts = find_capability(recipe.capability, split=recipe.corpus.split)
    bare = {example.id: example.prompt for example in prompts.examples}
    return clean(
        [row for row in rows if row.id in bare], bare, held_out_prompts(recipe.capability), drop=recipe.corpus.drop
    )


def _title(name: str) -> str:
    arm, _, round_ = name.rpartition("-round-")
    label = short_name(arm)
    return f"{label}, round {round_}" if round_ != "1" else label


def _summary(rows: Sequence[CorpusRow], found: Hygiene, rejected: int) -> None:
    tokens = sum(len(row.tokens) for row in rows)
    ended = sum(row.finish == "eos" for row in rows)
    left_out = ", ".join(f"{n} {_REASONS[reason]}" for reason, n in found.counts.items()) or "none"
    st.markdown(
        f"**{counted(len(rows), 'row')}**, {counted(tokens, 'token')} written, {ended} ended by themselves. Left out "
        f"of training by hygiene: **{left_out}**. Rejected by you: **{rejected}**."
    )


def _line(row: CorpusRow, rejected: frozenset[int] | set[int], reasons: Mapping[int, str]) -> dict[str, object]:
    return {
        "keep": row.number not in rejected,
        "number": row.number,
        "prompt": row.prompt,
        "completion": row.completion,
        "tokens": len(row.tokens),
        "ended": "by itself" if row.finish == "eos" else "cut",
        "left out": reasons.get(row.number, ""),
    }


_COLUMNS = {
    "keep": st.column_config.CheckboxColumn("Keep", width="small", help="Untick a row to reject it."),
    "number": st.column_config.NumberColumn("Row", width="small"),
    "prompt": st.column_config.TextColumn("Prompt", width="medium"),
    "completion": st.column_config.TextColumn("Completion", width="large"),
    "tokens": st.column_config.NumberColumn("Tokens", width="small"),
    "ended": st.column_config.TextColumn("Ended", width="small"),
    "left out": st.column_config.TextColumn("Left out, since", width="small"),
}


def _table(rows: Sequence[Mapping[str, object]], key: str, editable: bool) -> list[bool]:
    """The table; returns which rows are ticked."""
    import pandas as pd

    frame: DataFrame = pd.DataFrame(list(rows))
    height = min(38 + 35 * len(rows), 423)
    if not editable:
        st.dataframe(
            frame.drop(columns="keep"),
            column_config=_COLUMNS,
            hide_index=True,
            height=height,
            alt="The rows of a corpus: prompt, completion, tokens, how it ended, and why it is left out",
        )
        return [bool(row["keep"]) for row in rows]
    edited = st.data_editor(
        frame,
        column_config=_COLUMNS,
        hide_index=True,
        height=height,
        key=key,
        disabled=[name for name in frame.columns if name != "keep"],
    )
    return [bool(keep) for keep in edited["keep"]]


def _save(run: "Run", rejected: Mapping[str, set[int] | frozenset[int]]) -> None:
    try:
        run.set_rejected(rejected)
    except SpdError as error:
        failure("It was not saved:", str(error))
        return
    st.toast("Saved: these rows are not trained on.")
    st.rerun()
