"""How the arms answered the same prompt: all prompts in a table, arms in columns, and one prompt in full."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.fine_tune import rejecting
from app.fine_tune.corpus import FATES, ShownCorpus
from app.ui import session
from app.ui.widgets import caption, counted, escaped
from spd_core.distill.corpus import CorpusRow
from spd_core.templates import render
from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.runs.folder import Run

Answers = Mapping[str, tuple[ShownCorpus, CorpusRow]]
"""What each corpus has of one prompt, by the corpus' title."""

_FILTERS: Mapping[str, Callable[[Answers], bool]] = {
    "all": lambda answers: True,
    "arms differ": lambda answers: len(_verdicts(answers)) > 1,
    "all right": lambda answers: _verdicts(answers) == {True},
    "all wrong": lambda answers: _verdicts(answers) == {False},
    "not trained on by all": lambda answers: any(
        one.fates.get(row.number) not in ("trained", "held out") for one, row in answers.values()
    ),
}
_IN_A_ROW = 3


def panel(run: "Run", corpora: Sequence[ShownCorpus], *, editable: bool) -> None:
    """The table, and the prompt that is chosen in it."""
    first = [one for one in corpora if one.round == 1]
    prompts = _prompts(first)
    chosen = _pick_filter(prompts)
    numbers = [number for number, answers in prompts.items() if _FILTERS[chosen](answers)]
    if not numbers:
        caption("No prompts match: choose another filter.")
        return
    table = st.dataframe(
        [_line(number, prompts[number]) for number in numbers],
        hide_index=True,
        height=min(38 + 35 * len(numbers), 318),
        key=f"{session.CORPUS_PROMPT}_{chosen}",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Row": st.column_config.NumberColumn(width=50),
            "Prompt": st.column_config.TextColumn(width=200),
            "Reference": st.column_config.TextColumn(width=80),
            **{title: st.column_config.TextColumn(width=_width(len(first))) for title in prompts[numbers[0]]},
        },
        alt="Prompts, and what each arm wrote after them",
    )
    picked = table["selection"]["rows"]
    at = picked[0] if picked and picked[0] < len(numbers) else 0
    if not picked:
        how = ", and to keep or reject it" if editable else ""
        caption(f"Click a row's box to read here what every arm wrote{how}. The first one:")
    _in_full(run, numbers[at], prompts[numbers[at]], editable)


def _width(arms: int) -> int:
    """Of an arm's column: all of them fit a laptop, as long as something can be read in each."""
    return max(830 // max(arms, 1), 160)


def _prompts(corpora: Sequence[ShownCorpus]) -> dict[int, dict[str, tuple[ShownCorpus, CorpusRow]]]:
    """By the number of the rows: all arms write on the same prompts, in the same order."""
    found: dict[int, dict[str, tuple[ShownCorpus, CorpusRow]]] = {}
    for one in corpora:
        for row in one.rows:
            found.setdefault(row.number, {})[one.title] = (one, row)
    return dict(sorted(found.items()))


def _verdicts(answers: Answers) -> set[bool]:
    return {one.right[row.number] for one, row in answers.values() if row.number in one.right}


def _pick_filter(prompts: Mapping[int, Answers]) -> str:
    counts = {name: sum(map(fits, prompts.values())) for name, fits in _FILTERS.items()}
    options = [name for name, count in counts.items() if count or name == "all"]
    key = f"{session.CORPUS_FILTER}_{session.CORPUS_PROMPT}"
    if st.session_state.get(key) not in (None, *options):
        st.session_state[key] = "all"
    chosen = st.pills(
        "Prompts",
        options,
        default="all",
        key=key,
        format_func=lambda name: f"{name} · {counts[name]}",
        label_visibility="collapsed",
    )
    return chosen if chosen in options else "all"


def _line(number: int, answers: Answers) -> dict[str, Any]:
    one, row = next(iter(answers.values()))
    return {
        "Row": number,
        "Prompt": one.prompt(row),
        "Reference": one.answer(row),
        **{title: f"{_mark(one, row)}{row.completion.strip()}" for title, (one, row) in answers.items()},
    }


def _mark(one: ShownCorpus, row: CorpusRow) -> str:
    right = one.right.get(row.number)
    return "" if right is None else "✓ " if right else "✗ "


# --- one prompt --------------------------------------------------------------------------------------------------


def _in_full(run: "Run", number: int, answers: Answers, editable: bool) -> None:
    """A prompt, its right answer, and what each arm wrote, with a tick where that is a person's choice."""
    one, row = next(iter(answers.values()))
    answer = one.answer(row)
    with st.container(border=True):
        st.markdown(f"**Row {number}** · right answer: **{escaped(shown(answer))}**" if answer else f"**Row {number}**")
        st.html(render("text.html", parts=[(row.prompt, False)]))
        titles = list(answers)
        for at in range(0, len(titles), _IN_A_ROW):
            columns = st.columns(_IN_A_ROW, gap="medium")
            for column, title in zip(columns, titles[at : at + _IN_A_ROW], strict=False):
                with column:
                    _answer(run, title, *answers[title], editable)


def _answer(run: "Run", title: str, one: ShownCorpus, row: CorpusRow, editable: bool) -> None:
    right = one.right.get(row.number)
    badge = "" if right is None else " :green-badge[✓ right]" if right else " :orange-badge[✗ wrong]"
    st.markdown(f"**{escaped(title)}**{badge}")
    st.html(render("text.html", parts=[(row.completion, False)] if row.completion.strip() else []))
    ended = "stopped at end of text" if row.finish == "eos" else "cut"
    fate = FATES[one.fates[row.number]] if row.number in one.fates else "its example is gone"
    caption(f"{counted(len(row.tokens), 'token')}, {ended} · {fate}")
    if editable and one.tickable(row.number):
        kept, times = one.fates[row.number] == "trained", st.session_state.get(session.CORPUS_TIMES, 0)

        def turn() -> None:
            rejecting.keep(run, one.name, {row.number: not kept})

        st.checkbox(
            f"Keep it for {title}",
            kept,
            key=f"{session.KEPT_ROW}_{run.id}_{one.path.stem}_{row.number}_{kept}_{times}",
            on_change=turn,
        )
