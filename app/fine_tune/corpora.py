"""The corpora of a run: what each is like, how arms answered the same prompts, and one of them to reject rows of."""

from typing import TYPE_CHECKING

import streamlit as st

from app.fine_tune import corpus_table, prompt_by_prompt, rejecting
from app.fine_tune.corpus import ShownCorpus, corpora_of
from app.ui import launch, session
from app.ui.progress import show_progress
from app.ui.tables import table_html
from app.ui.widgets import caption, escaped, failure
from spd_core.data.catalog import find_capability
from spd_core.data.public import PUBLIC_SETS
from spd_core.distill.review import diversity, prompts_of
from spd_core.engines.written import writer_of_corpus
from spd_core.errors import InputError
from spd_core.recipes.distill import Recipe, short_name
from spd_core.sandbox.run import ALLOW, code_allowed
from spd_core.storage import modified

if TYPE_CHECKING:
    from spd_core.runs.folder import Run
    from spd_core.runs.record import Status
    from spd_core.runs.view import RunView

ALL = "All arms"
"""The view of all corpora beside each other."""


def panel(run: "Run", status: "Status", view: "RunView") -> None:
    """All corpora beside each other, or one as a table; while nothing works on the run, rows can be taken out."""
    try:
        corpora = corpora_of(run)
    except InputError as error:
        failure("The corpora cannot be read:", str(error))
        return
    if not any(one.rows for one in corpora):
        caption("No row is written yet. They appear here batch by batch.")
        return
    titles = {one.path.stem: one.title for one in corpora}
    options = (*([ALL] if len(corpora) > 1 else []), *titles)
    row = st.container(horizontal=True, vertical_alignment="center")
    chosen = row.segmented_control(
        "Corpus",
        options,
        default=options[0],
        required=True,
        key=session.CORPUS_SHOWN,
        format_func=lambda name: titles.get(name, name),
        persist_state="session",
        label_visibility="collapsed",
    )
    shown = next((one for one in corpora if one.path.stem == chosen), None if len(corpora) > 1 else corpora[0])
    closed = _closed(run, status, view, shown)
    if closed:
        with row:
            caption(f":material/lock: {closed}")
    else:
        rejecting.say(run, row)
    _say_writers(corpora if shown is None else [shown])
    if shown is None:
        st.html(table_html([_facts(one) for one in corpora], "What the corpora are like", compact=True))
        _say_distinct()
        _marks(run.record.distillation, corpora)
        prompt_by_prompt.panel(run, corpora, editable=not closed)
    else:
        _marks(run.record.distillation, corpora)
        corpus_table.panel(run, shown, editable=not closed)


def _closed(run: "Run", status: "Status", view: "RunView", shown: ShownCorpus | None) -> str:
    """Why rows cannot be rejected; empty where they can."""
    recipe = run.record.distillation
    if status.state == "done":
        return "Trained on already: rows of a finished arm cannot be changed. Clone the run to train on others."
    if status.state not in rejecting.OPEN:
        return "Rows can be rejected while nothing works on the run: stop it, or tick **Wait for my review** before."
    if shown is None:
        return ""
    if shown.round > 1:
        return "Rows of later rounds are written by a trained arm, and trained on at once: they cannot be changed."
    done = {arm for arm, _ in view.done}
    locked = [short_name(arm) for arm in recipe.arms if arm in done and recipe.corpus_name(arm) == shown.name]
    return f"{', '.join(locked)} has finished on these rows: they cannot be changed any more." if locked else ""


# --- what they are like ------------------------------------------------------------------------------------------


def _facts(one: ShownCorpus) -> dict[str, str]:
    """A corpus in a row of a table."""
    found = diversity(one.rows)
    assert found is not None, "an empty corpus has no row in the table"
    right = f"{sum(one.right.values())} of {len(one.right)}" if one.right else "–"
    return {
        "Corpus": one.title,
        "Trained on": f"{one.trained} of {one.could_train} rows",
        "Right": right,
        "Stopped at end of text": f"{found.ended:.0%}",
        "Tokens, mean / median": f"{found.mean_length:.1f} / {found.median_length:g}",
        "Different texts": f"{found.unique} of {found.rows}",
        "Distinct-1 / 2": f"{_share(found.distinct_1)} / {_share(found.distinct_2)}",
    }


def _say_writers(corpora: list[ShownCorpus]) -> None:
    """By which engine rows were written, where one did."""
    try:
        found = {one.title: writer_of_corpus(one.path) for one in corpora}
    except InputError as error:
        failure("Who has written a corpus cannot be read:", str(error))
        return
    said = {
        one.sentence: ", ".join(title for title, other in found.items() if other == one)
        for one in found.values()
        if one
    }
    for sentence, titles in said.items():
        caption(escaped(f"{titles}: {sentence}."))


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _say_distinct() -> None:
    caption(
        "Distinct-1 and -2: different tokens, and pairs of them, ÷ all; a low one means that completions repeat "
        "themselves and each other."
    )


def _marks(recipe: Recipe, corpora: list[ShownCorpus]) -> None:
    """Why nothing is marked right or wrong; or the button that runs the tests of code, where that is allowed."""
    if why := unmarked(recipe):
        caption(why)
        return
    if prompts_of(recipe).settings.scorer != "python":
        return
    job = session.job(session.MARKS_JOB)
    if job is not None and job.running:
        show_progress(job, "Stop the tests")
        return
    if job is not None and job.error:
        failure("The tests were not run:", job.error)
    rows = {(str(one.path), modified(one.path)): one.rows for one in corpora}
    st.button(
        "Run the tests of these corpora",
        icon=":material/rule:",
        on_click=launch.start_marking,
        args=(rows, prompts_of(recipe)),
        help="Each in a process without network that can write nothing; then rows are marked right or wrong",
    )


def unmarked(recipe: Recipe) -> str:
    """Why no row is marked right or wrong; empty where rows are."""
    if recipe.capability in PUBLIC_SETS:
        return "The right answers of a public data set are on the hub: nothing is marked here."
    return {
        "python": ""
        if code_allowed()
        else f"Whether code is right shows when its tests are run: with {ALLOW}=1, the app runs them here, sealed off.",
        "nll": "This capability is scored by likelihood, which has no right or wrong.",
    }.get(find_capability(recipe.capability).settings.scorer, "")
