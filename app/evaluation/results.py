"""What an evaluation has found so far, as parts of the page: claims, table, differences, items, answers, files.

Drawn again every second and a half while the run works: the statistics are computed once for each state of its cells.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from app.evaluation import (
    answer_charts,
    claim_cards,
    compare,
    heat_map,
    items,
    next_steps,
    score_charts,
    verdict_panel,
)
from app.ui import difference_charts, session, set_panels
from app.ui.open_tables import table_of
from app.ui.set_panels import set_title
from app.ui.tables import table_html
from app.ui.widgets import caption, chart, download, escaped, is_dark
from spd_core.evaluation import report
from spd_core.evaluation.drawn import drawn_sets
from spd_core.evaluation.latex import to_latex
from spd_core.evaluation.table import Column, Table
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.text import shown

if TYPE_CHECKING:
    from spd_core.runs.folder import Run

CLAIMS, SCORES, MAP, ITEMS = "Claims", "Scores", "Map", "Items"
ANSWERS, COMPARE, FILES = "Answers", "Compare", "Export"
_ONCE = {"Table": SCORES, "Differences": CLAIMS}
"""What parts were called in links of earlier versions."""
_PROMISED = (
    "No results yet: a cell counts when all its seeds are finished. Here will stand a verdict, a card for each "
    "comparison with the base (helps, hurts or not shown, with its controls), all scores with 95% intervals, every "
    "single item, and files to take away."
)


def draw_results_verdict(run: "Run") -> None:
    """What the evaluation shows, in a sentence or a few."""
    verdict_panel.verdict_panel(table_of(run))


def panel(run: "Run", propose: Callable[[EvaluationRecipe], None], live: bool) -> None:
    """All results of an evaluation, as far as its cells are filled, part by part; while it works the verdict leads.

    Args:
        propose: fills the form with a proposal, and turns to it; used as a callback.
    """
    table = table_of(run)
    verdict_panel.damaged_panel(run, table, live)
    if not table.answered:
        if not table.damaged:
            caption(_PROMISED)
        return
    if live:
        verdict_panel.verdict_panel(table)
    if (once := st.query_params.get(session.RESULTS_PART)) in _ONCE:
        st.session_state[session.RESULTS_PART] = _ONCE[once]
    part = st.segmented_control(
        "Results",
        (CLAIMS, SCORES, MAP, ITEMS, ANSWERS, COMPARE, FILES),
        default=CLAIMS,
        required=True,
        key=session.RESULTS_PART,
        bind="query-params",
        label_visibility="collapsed",
    )
    if part != ITEMS:
        items.forget_link()
    if part == SCORES:
        _scores(table)
    elif part == MAP:
        _map(table)
    elif part == ITEMS:
        items.panel(table)
    elif part == ANSWERS:
        _answers(table)
    elif part == COMPARE:
        compare.panel(run, table)
    elif part == FILES:
        _files(run, table)
    else:
        _claims(run, table, propose, live)


def _claims(run: "Run", table: Table, propose: Callable[[EvaluationRecipe], None], live: bool) -> None:
    """The picture of all differences, what would tell more, and the cards."""
    if table.claims:
        _differences(table)
    if table.claims and not live and table.done + len(table.damaged) == table.planned:  # else resuming is next
        next_steps.panel(table, propose, run.recorded)
    claim_cards.panel(table)


# --- scores ------------------------------------------------------------------------------------------------------


def _scores(table: Table) -> None:
    chart(score_charts.scores(table, is_dark()), key="chart_scores", alt=score_charts.scores_alt(table))
    paper = " The diamonds are the paper's figures." if _has_paper(table) else ""
    caption(
        "How to read this: a dot is a score, its bar the 95% interval; better is on the right. The dashed line is the "
        f"untouched model. Overlapping bars prove nothing either way: items are paired, see **{CLAIMS}**.{paper}"
    )
    _twin(score_rows(table), "Scores of all arms on all sets")
    for column in drawn_sets(table):
        st.markdown(f"##### {escaped(shown(column.title))}: several answers to each item")
        st.html(table_html(report.drawn_rows(table, column), "Chance that one of k answers is right"))
        caption(
            "**How to read this:** pass@k is the chance that at least one of k drawn answers is right. A model can "
            "gain at k = 1 and lose at larger k: it has become surer, and its answers more alike."
        )
    with st.expander("Notes"):
        caption("  \n".join(map(escaped, report.notes(table))))


def _has_paper(table: Table) -> bool:
    return any(row["Arm"].startswith("Paper: ") for row in report.grid(table))


def score_rows(table: Table) -> list[dict[str, str]]:
    """The table, its sets called in- or out-of-domain."""
    titles = {column.title: set_title(column) for column in table.columns}
    return [{titles.get(name, name): text for name, text in row.items()} for row in report.grid(table)]


def _twin(rows: list[dict[str, str]], label: str) -> None:
    with st.expander("As a table"):
        st.html(table_html(rows, label))


# --- differences -------------------------------------------------------------------------------------------------


def _map(table: Table) -> None:
    if not table.claims:
        caption("Differences appear here when the base and one other subject have answered the same set.")
        return
    selected = _selected()
    chart(
        heat_map.difference_map(table, selected, is_dark()),
        key="chart_heat",
        alt=heat_map.difference_map_alt(table),
        pick=lambda cell: items.show_items_of(*cell),
    )
    caption(
        f"How to read this: a cell says the difference to the base, in {_units(table)}. Blue "
        "▲\u00a0helps, orange ▼\u00a0hurts; without a colour it is not shown, however large it looks. Click a cell for "
        "its items."
    )
    _offer(table, selected)
    _twin(difference_charts.differences_table(table), "Differences to the base")


def _differences(table: Table) -> None:
    chart(
        difference_charts.differences(table, is_dark()),
        key="chart_differences",
        alt=difference_charts.differences_alt(table),
    )
    nats = ", in nats as well, whose axis runs backwards" if any(one.likelihood for one in table.columns) else ""
    caption(
        "How to read this: a mark is subject − base on the same items, its bar the 95% interval; right of zero is "
        f"better{nats}. A bar that crosses zero shows "
        "nothing. One that does not can still be luck among so many: it is hollow where p after Holm is 0.05 or more."
    )


def _units(table: Table) -> str:
    kinds = {one.likelihood for one in table.columns}
    units = {False: "percentage points", True: "nats per token, where less is better"}
    return " or ".join(name for likelihood, name in units.items() if likelihood in kinds)


def _selected() -> tuple[str, str] | None:
    subject, chosen_set = (st.session_state.get(key) for key in (session.ITEM_SUBJECT, session.ITEM_SET))
    return (subject, chosen_set) if subject and chosen_set else None


def _offer(table: Table, selected: tuple[str, str] | None) -> None:
    """What the chosen cell is, and the way to its items."""
    found = table.claims.get(selected) if selected is not None else None
    if found is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Look at its items", on_click=_turn, args=(ITEMS,), icon=":material/list_alt:")
        caption(f"Chosen: **{escaped(shown(found.subject))}** on {escaped(shown(found.set_name))}, {found.headline}")


def _turn(part: str) -> None:
    st.session_state[session.RESULTS_PART] = part


# --- answers -----------------------------------------------------------------------------------------------------


def _answers(table: Table) -> None:
    sets = {column.name: column for column in set_panels.answered_sets(table) if not column.likelihood}
    if not sets:
        caption(
            "How long answers are, how they end and whether they can be read appears here with the first set that is "
            "answered in writing. Sets scored by likelihood have none of this."
        )
    else:
        _answers_on(table, sets)
    _twin(report.diagnostics(table), "Length, stopping and format of all answers")


def _answers_on(table: Table, sets: dict[str, Column]) -> None:
    if st.session_state.get(session.ANSWERS_SET) not in sets:
        st.session_state.pop(session.ANSWERS_SET, None)
    name = st.selectbox(
        "Set",
        tuple(sets),
        key=session.ANSWERS_SET,
        persist_state="session",
        width=300,
        format_func=lambda name: shown(set_title(sets[name])),
    )
    chart(
        answer_charts.answer_bars(table, sets[name], is_dark()),
        key="chart_answers",
        alt=answer_charts.answer_bars_alt(table, sets[name]),
    )
    caption(
        "How to read this: a gain that is no more than answers that end sooner, or that can be read more often, is a "
        "gain in form. If it vanishes when each answer is cut after the first line that holds one, it was in stopping."
    )


# --- files -------------------------------------------------------------------------------------------------------


def _files(run: "Run", table: Table) -> None:
    name = run.id
    caption("Files of the results so far; each is made when you ask for it.")
    makers: list[tuple[str, str, Callable[[], bytes], str]] = [
        (
            "CSV",
            f"{name}.csv",
            lambda: report.frame(table).to_csv(index=False).encode(),
            "A row for each cell, with all digits",
        ),
        (
            "Markdown",
            f"{name}.md",
            lambda: report.to_markdown(table).encode(),
            "Table, notes, claims with their controls, diagnostics",
        ),
        ("LaTeX", f"{name}.tex", lambda: to_latex(table).encode(), "The table for a paper (booktabs)"),
    ]
    for label, file_name, make, says in makers:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            download(label, make, file_name, width=190)
            caption(says)
    caption("The same table in a terminal, which also fills what is missing:")
    st.code(f"python -m spd_core table --run {name}", language=None, wrap_lines=True)
    caption(
        f"The folder of this run holds it, too, when it is finished: {escaped(str(run.folder))}, table.md and "
        "table.csv."
    )
