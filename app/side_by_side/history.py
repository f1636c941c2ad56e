"""Which result Side by side shows, and the history of all that were written."""

from contextlib import suppress
from typing import TYPE_CHECKING, cast

import streamlit as st

from app.side_by_side.filling import fill_form, fill_prompt, is_untouched
from app.ui import session
from app.ui.links import write_linked
from app.ui.recorded_texts import open_once, recorded_for
from app.ui.tables import table_html
from app.ui.widgets import caption, counted, delete_button, distinct_labels, failure
from spd_core.errors import InputError, SpdError
from spd_core.generation import comparison as texts
from spd_core.generation import differences, report
from spd_core.generation.comparison import Comparison
from spd_core.templates import render
from spd_core.text import opening, shown

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis


def shown_result(analysis: "Analysis | None") -> Comparison | None:
    """What was written last, or what a link, the history or an example chose; on a form that nobody has filled yet, a
    recorded result. The form is filled with what made it, once.

    An id that cannot be opened is forgotten, and told on the page until something else is chosen.
    """
    state = st.session_state
    _take_result()
    if session.WRITTEN not in state:  # the first run of a session
        state[session.WRITTEN] = st.query_params.get(session.WRITTEN, "")
    name = state[session.WRITTEN]
    result = None
    if name:
        try:
            result = open_result(name)
            write_linked({session.WRITTEN: name})
        except InputError as error:
            show_result("")
            state[session.TEXT_TROUBLE] = str(error)
    if session.TEXT_TROUBLE in state:
        failure("This result cannot be opened:", state[session.TEXT_TROUBLE])
    if result is None and analysis is not None and is_untouched():
        result = recorded_for(analysis.name)
    if result is not None and analysis is not None and result.id != state.get(session.FILLED):
        state[session.FILLED] = result.id
        if result.analysis == analysis.name:
            fill_form(result, analysis)
    return result


def show_result(name: str) -> None:
    """Show the result of this id from now on; none for an empty one."""
    for key in (session.PLACE, session.CELL, session.TEXT_TROUBLE):
        st.session_state.pop(key, None)
    write_linked({session.CELL: "", **({} if name else {session.WRITTEN: ""})})
    st.session_state[session.WRITTEN] = name  # last: a run that is broken off here does it again


def refill(name: str) -> None:
    """Show a result, and fill the form with what made it."""
    show_result(name)
    st.session_state.pop(session.FILLED, None)


def show_cell(name: str) -> None:
    """Show the texts of a cell of a repeat, with their prompt and seed in the form; lanes and mix stay as they are."""
    analysis, result = session.in_hand(), open_result(name)
    show_result(name)
    st.session_state[session.FILLED] = name
    if analysis is not None:
        fill_prompt(result, analysis)


def _open(name: str) -> None:
    """Show a result, with its capture as the active one where that is still here."""
    refill(name)
    with suppress(InputError):
        result = open_result(name)
        session.open_analysis(result.analysis)
        if result.analysis != st.session_state.get(session.CAPTURE):
            session.take_in_hand(result.analysis)


def _take_result() -> None:
    """Take up what a job has finished since the last look."""
    with session.new_result(session.WRITE_JOB) as result:
        if result is None:
            return
        _unsaved().pop(result.id, None)  # the disk may have taken what it refused before
        if st.session_state[session.WRITE_JOB].notice:
            _unsaved()[result.id] = result
        if result.id != st.session_state.get(session.WRITTEN):
            show_result(result.id)
        st.session_state[session.FILLED] = result.id  # the form wrote it, and may say more by now


def _unsaved() -> dict[str, Comparison]:
    """Results that the disk refused."""
    return cast(dict[str, Comparison], st.session_state.setdefault(session.UNSAVED_TEXTS, {}))


def open_result(name: str) -> Comparison:
    """The result of an id; raises `InputError` when there is none, or it is damaged."""
    return _unsaved()[name] if name in _unsaved() else open_once(name)


def follow_example(analysis: "Analysis", prompt: str) -> None:
    """An example was chosen: show what is recorded of it; a recorded result of another one makes way."""
    found = recorded_for(analysis.name, prompt)
    if found is not None:
        show_result(found.id)
    elif st.session_state.get(session.WRITTEN) in texts.recorded_ids():
        show_result("")


def result_label(name: str) -> str:
    """What to call a result in a list: when, what for, how many lanes, and how its prompt begins."""
    try:
        result = open_result(name)
    except InputError:
        return f"{name} (cannot be opened)"
    what = "sweep" if result.grid else counted(len(result.lanes), "lane")
    when = "recorded" if result.recorded else result.created.replace("T", " ")
    return f"{when} · {result.capability} · {what} · {opening(result.prompt, 60)}"


def result_names() -> list[str]:
    """Ids of all results, the newest first."""
    return list(dict.fromkeys((*_unsaved(), *texts.saved_ids())))


def pick_result(comparison: Comparison | None) -> None:
    """Choose another result, or delete one."""
    known = result_names()
    if not known:
        caption("No results yet. Every result is kept here.")
        return
    chosen = st.selectbox(
        f"{counted(len(known), 'result')}, the newest first",
        known,
        key=session.HISTORY,
        persist_state="session",
        format_func=distinct_labels(known, result_label),
        width=620,
    )
    row = st.container(horizontal=True)
    row.button(
        "Open result",
        icon=":material/folder_open:",
        on_click=_open,
        args=(chosen,),
        disabled=comparison is not None and chosen == comparison.id,
    )
    own = chosen not in texts.recorded_ids()
    delete_button("Delete result", result_label(chosen), row, delete=lambda: _delete(chosen), disabled=not own)


def _delete(name: str) -> None:
    try:
        if _unsaved().pop(name, None) is None:
            texts.remove_comparison(name)
    except SpdError as error:
        failure("It was not deleted:", str(error))
        return
    if name == st.session_state.get(session.WRITTEN):
        show_result("")
    st.rerun()


# --- two results beside each other ---------------------------------------------------------------------------


def compare_results(comparison: Comparison) -> None:
    """Compare a lane of this result with a lane of any other: settings that differ, and the words."""
    known = [name for name in result_names() if name != comparison.id]
    if not known:
        caption("There is no other result yet.")
        return
    chosen = st.selectbox(
        "Other result",
        known,
        key=session.OTHER_RESULT,
        persist_state="session",
        format_func=distinct_labels(known, result_label),
    )
    try:
        other = open_result(chosen)
    except InputError as error:
        failure("This result cannot be opened:", str(error))
        return
    sides = []
    for column, which, comparison_of_side in zip(st.columns(2), ("this", "other"), (comparison, other), strict=True):
        labels = [lane.label for lane in comparison_of_side.lanes]
        with column:
            at = st.selectbox(
                f"Lane of {which} result",
                range(len(labels)),
                min(1, len(labels) - 1),
                format_func=labels.__getitem__,
                key=f"{session.BESIDE_LANE}_{which}_{comparison_of_side.id}",
            )
        sides.append(comparison_of_side.lanes[at])
    differing = [(name, *pair) for name, pair in _settings(comparison, other) if pair[0] != pair[1]]
    if differing:
        rows = [{"Setting": name, "This result": a, "Other result": b} for name, a, b in differing]
        st.html(table_html(rows, "Settings that differ"))
    else:
        caption("Both were written with the same settings.")
    pieces = differences.word_diff(sides[0].text, sides[1].text)
    fork = differences.first_divergence(sides[0].ids, sides[1].ids)
    for column, lane, words in zip(st.columns(2), sides, pieces, strict=True):
        where = None if fork is None else len("".join(token.text for token in lane.tokens[:fork]))
        column.html(render("text.html", parts=report.diff_parts(words, where)))


def _settings(first: Comparison, second: Comparison) -> list[tuple[str, tuple[str, str]]]:
    both = [
        {
            "Prompt": shown(c.prompt),
            "Prompt format": c.prompt_style,
            "Model": f"{c.model}@{c.revision}",
            "Number format": c.dtype,
            "Capture": c.analysis,
            "Sampling": report.sampling_line(c.sampling),
            "Chance": report.noise_sentence(c.sampling),
        }
        for c in (first, second)
    ]
    return [(name, (both[0][name], both[1][name])) for name in both[0]]
