"""Whether recorded numbers come out again on this machine: the button, the way there, and the table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import streamlit as st

from app.ui import launch, session
from app.ui.progress import show_progress
from app.ui.tables import table_html, to_csv
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, download, escaped, failure
from spd_core.library.replay_report import VERDICTS, ReplayReport, ReplayRow
from spd_core.library.things import Thing

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from app.jobs.job import Job
    from app.jobs.replaying import Replayed

_MARKS = {
    "matches": "✓\u00a0matches",
    "differs": "✕\u00a0differs",
    "not determined": "○\u00a0not\u00a0determined",
    "not replayed": "–\u00a0not\u00a0replayed",
}
_HELP = (
    "Computes the numbers again on this machine and says which match, within which tolerance and why: captures are "
    "captured again, texts written again, evaluations counted again from their items. Nothing is changed."
)


def replay_button(selected: Sequence[Thing], row: "DeltaGenerator") -> None:
    """The button for the things that are ticked."""
    possible = bool(selected) and not any(one.problem for one in selected)
    row.button(
        "Replay",
        icon=":material/replay:",
        disabled=not possible or running(),
        help=_HELP if possible else "Tick things whose numbers are to be computed again.",
        on_click=launch.start_replay,
        args=(named(selected), [one.ref for one in selected]),
    )


def bundle_button(token: str, source: BinaryIO | Path) -> None:
    """The button for a bundle that was chosen and is not brought in."""
    st.button(
        "Replay first",
        icon=":material/replay:",
        disabled=running(),
        help=f"{_HELP} The bundle is not brought in for that.",
        on_click=launch.start_replay,
        args=(token, source),
    )


def named(things: Sequence[Thing]) -> str:
    """What a job remembers of things: it is shown while they are ticked."""
    return " ".join(str(one.ref) for one in things)


def running() -> bool:
    """Whether something is being replayed now."""
    job = session.job(session.REPLAY_JOB)
    return job is not None and job.running


def shown(what: str) -> bool:
    """Draw what became of the replay of these things, or of this bundle; whether there was one."""
    job = cast("Job[Replayed, str] | None", session.job(session.REPLAY_JOB))
    if job is None:
        return False
    if job.running:  # whatever is ticked meanwhile
        st.subheader("Replay", anchor=False)
        show_progress(job, "Stop the replay")
    elif job.news != what:
        return False
    elif job.error:
        failure("It could not be replayed:", job.error)
    elif job.result is not None and job.result.what == what:
        _report(job.result.report, what)
    return True


def _report(report: ReplayReport, what: str) -> None:
    st.subheader("Replay", anchor=False)
    kind = "hurts" if report.count("differs") else "helps" if report.count("matches") else "not-shown"
    draw_verdict(report.sentence, kind=kind, mark="✕" if report.count("differs") else "✓" if kind == "helps" else "")
    if not report.rows:
        return
    several = len({row.thing for row in report.rows}) > 1
    ordered = sorted(report.rows, key=lambda row: _ORDER.index(row.verdict))
    st.html(table_html([_row(row, several) for row in ordered], "Numbers as recorded, and as computed now"))
    _around(report)
    name = what.partition(" ")[0].replace(":", "-").replace("/", "-")[:60]
    download("Replay as CSV", lambda: to_csv([vars(row) for row in report.rows]), f"replay-{name}.csv")


_ORDER = ("differs", *(one for one in VERDICTS if one != "differs"))


def _row(row: ReplayRow, several: bool) -> dict[str, str]:
    within = f"{row.difference} (within {row.tolerance})" if row.tolerance not in ("", "none") else row.difference
    return {
        "": _MARKS[row.verdict],
        "Number": row.what,
        **({"Of": _short(row.thing)} if several else {}),
        "Recorded": row.recorded,
        "Now": row.recomputed,
        "Difference": within,
        "Why": row.reason,
    }


def _short(thing: str) -> str:
    """`text 0e9904f`: enough to tell the things of a table apart."""
    kind, _, name = thing.partition(":")
    return f"{kind} {name if len(name) <= 20 else name.rpartition('-')[2]}"


def _around(report: ReplayReport) -> None:
    """Device, dtype, versions and threads, in a line each way."""
    if not report.surroundings:
        caption("No model was asked: these numbers follow from what is kept.")
        return
    same = [f"{one.what} {one.here}" for one in report.surroundings if one.same]
    other = [
        f"{one.what} {one.recorded or 'not noted'} then, {one.here} here" for one in report.surroundings if not one.same
    ]
    said = [f"The same as then: {', '.join(same)}."] if same else []
    said += [f"Not known to be the same: {'; '.join(other)}."] if other else []
    caption(escaped(" ".join(said)))
