"""Parts of Side by side that show what was written: live lanes, and a result with its cards."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.jobs.requests import WriteRequest
from app.side_by_side import history, ribbons
from app.side_by_side.exports import draw_exports
from app.side_by_side.lane_pickers import open_others
from app.side_by_side.sweep import pick_cell
from app.side_by_side.token_by_token import draw_curves, pick_place
from app.ui import launch, session
from app.ui.progress import say_others_at_work
from app.ui.recorded_texts import is_recorded
from app.ui.tokens import token_strip
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.errors import InputError
from spd_core.generation import report
from spd_core.generation.comparison import Comparison, LaneText
from spd_core.templates import render
from spd_core.text import opening, shown

if TYPE_CHECKING:
    from app.jobs.job import Job
    from app.jobs.writing import LiveLane

WORDS, PLAIN = "word diff", "text alone"
_VIEWS = (WORDS, *ribbons.METRICS, PLAIN)
_CHANGED = "Settings have changed since this was written; it stays until you generate again."
_FINISH = {"": "writing…", **report.FINISH}


# --- while it is written -------------------------------------------------------------------------------------


def live_lanes(job: "Job[Any, Any]") -> None:
    """The running job, ticking: what it does, and the lanes as they grow."""

    @st.fragment(run_every=0.2)
    def ticking() -> None:
        job.seen()
        if not job.running:
            st.rerun()
        news = job.news
        done = f", {news.done} of {counted(news.total, 'lane')} finished" if news else ""
        doing = "Stopping" if job.stop_asked else escaped(job.phase)
        st.progress(min(max(job.share, 0.0), 1.0), text=f"{doing}{done} ({job.elapsed:.0f} s)")
        say_others_at_work(job)
        if news and news.lanes:
            for cell, lane in zip(_cells(len(news.lanes)), news.lanes, strict=True):
                with cell:
                    _growing(lane)

    ticking()


def _growing(lane: "LiveLane") -> None:
    st.subheader(escaped(lane.label), anchor=False)
    st.code(shown(lane.text) or "…", language=None, wrap_lines=True)  # as it is: st.text trims and dedents
    speed = lane.tokens / max(lane.seconds, 1e-9)
    caption(f"{_FINISH[lane.finish]} · {counted(lane.tokens, 'token')}, {speed:.1f} a second")


def _cells(n: int) -> list[Any]:
    """A bordered container for each lane: two or three in a row."""
    wide = 2 if n in (2, 4) else min(n, 3)
    columns = [column for _ in range(0, n, wide) for column in st.columns(wide)]
    return [column.container(border=True) for column in columns[:n]]


# --- a result ------------------------------------------------------------------------------------------------


def right_answers(comparison: Comparison) -> tuple[bool | None, ...]:
    """Whether each lane's answer is right; None where nobody knows."""
    from spd_core.evaluation.lane_scores import lane_scores

    try:
        settings = session.open_analysis(comparison.analysis).capability.settings
    except InputError:  # the capture was deleted since, and its scorer with it
        return (None,) * len(comparison.lanes)
    return lane_scores(comparison, settings)


def result_panel(
    comparison: Comparison, request: WriteRequest | None, right: Sequence[bool | None], chosen: str = ""
) -> None:
    """A finished result: what made it, its lanes, and what can be done with it.

    Args:
        chosen: how it was chosen, where nobody chose it here.
    """
    _heading(comparison, request)
    cell = pick_cell(comparison) if comparison.grid else None
    seen = comparison if cell is None else comparison.cell(cell)
    marks = right if cell is None else (right[0], right[cell])
    view = _pick_view(comparison)
    lane_cards(seen, marks, view)
    _how_to_read(seen, view)
    if chosen:
        caption(f"**Why this example:** {escaped(chosen)}")
    if not comparison.is_read:
        _offer_reading(comparison)
    if view in ribbons.METRICS:
        pick_place(seen)
    with st.expander("What the model read"):
        st.code(shown(comparison.read), language=None, wrap_lines=True)
    # Drawn only while they are open: figures and texts of other results would slow every run.
    with st.expander("Curves and table, token by token", key=session.CURVES, on_change="rerun") as curves:
        if curves.open:
            draw_curves(seen)
    with st.expander("Compare with another result", key=session.BESIDE, on_change="rerun") as beside:
        if beside.open:
            history.compare_results(comparison)
    draw_exports(comparison)
    caption(f"Provenance: {escaped(report.origin_line(comparison))}")


def _pick_view(comparison: Comparison) -> str:
    """What the lanes show, with the badge of a recorded result beside it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        view = st.segmented_control(
            "Show",
            _VIEWS,
            default=WORDS,
            required=True,
            key=session.SHOW,
            bind="query-params",
            label_visibility="collapsed",
            help="Ribbons colour each token: hover, or step with the arrow keys, for its numbers and the likeliest "
            "tokens.",
            width="content",
        )
        if is_recorded(comparison):
            st.badge(
                "recorded",
                icon=":material/inventory_2:",
                color="gray",
                help="A real result that comes with SPD Lab: no model was loaded to show it.",
            )
    return view if view in _VIEWS else WORDS


def _heading(comparison: Comparison, request: WriteRequest | None) -> None:
    same = request is not None and request.matches(comparison)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if request is None or request.prompt != comparison.prompt:
            answer = comparison.answer or ""
            known = f" · **Correct answer:** {escaped(shown(answer))}" if answer and "\n" not in answer else ""
            caption(f"**Prompt:** {escaped(opening(comparison.prompt, 150))}{known}")
        if not same:
            caption(f":material/edit: {_CHANGED}")
            st.button("Back to its settings", on_click=history.refill, args=(comparison.id,), icon=":material/undo:")


def lane_cards(comparison: Comparison, right: Sequence[bool | None], view: str = WORDS) -> None:
    """A card for each lane: its text, whether it is right, and how it was made."""
    most = ribbons.largest_value(comparison.lanes, view) if view in ribbons.METRICS else 1.0
    cells = zip(_cells(len(comparison.lanes)), comparison.lanes, right, strict=True)
    for at, (cell, lane, mark) in enumerate(cells):
        with cell:
            _card(comparison, lane, view, most, f"ribbon_{comparison.id}_{at}_{view}", mark)


def _card(comparison: Comparison, lane: LaneText, view: str, most: float, key: str, right: bool | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(escaped(lane.label), anchor=False, width="content")
        if right is not None:
            icon = ":material/check_circle:" if right else ":material/cancel:"
            st.badge("right" if right else "wrong", icon=icon, color="green" if right else "red")
    bad = report.degenerate_reason(lane)
    if bad:
        st.badge(f"degenerate: {bad}", icon=":material/repeat:", color="orange")
    if view in ribbons.METRICS and lane.tokens:
        other = comparison.lanes[lane.other].label if lane.other is not None else "the other lane"
        data = ribbons.ribbon(lane, other, view, most, st.session_state.get(session.PLACE))
        token_strip(data, key=key, on_pick=lambda at: st.session_state.update({session.PLACE: at}))
    elif view == PLAIN or not lane.tokens:
        st.code(shown(lane.text) or "(no text)", language=None, wrap_lines=True)
    else:
        st.html(render("text.html", parts=report.lane_parts(lane, comparison)))
    parted = report.divergence_sentence(lane, comparison)
    caption(escaped(report.lane_numbers(lane, comparison)) + (f" · **{escaped(parted)}**" if parted else ""))
    caption(f"**What is projected:** {escaped(report.projection_sentence(lane, comparison))}.")


def _how_to_read(comparison: Comparison, view: str) -> None:
    first = escaped(comparison.lanes[0].label)
    if view == WORDS:
        caption(
            f"**How to read this:** grey is the same as in {first} (in {first}: as in the lane beside it), token by "
            "token; ▼ is the first token that differs. After it all is shaded where the texts share few words; else "
            "the words that the other text lacks are underlined."
        )
    elif view == ribbons.KL and comparison.is_read:
        caption(
            f"**How to read this:** the deeper the colour, the more the lane's distribution at this token differs "
            f"from that of {first} on the same text; for {first}, from that of the lane beside it."
        )
    elif view == ribbons.LOGPROB:
        caption(
            "**How to read this:** the deeper the colour, the less likely the lane itself found the token it wrote."
        )
    elif view == ribbons.ENTROPY:
        caption("**How to read this:** the deeper the colour, the more open the choice was for the lane.")


def _offer_reading(comparison: Comparison) -> None:
    """Say that KL is missing, and why; offer to work it out."""
    caption("The texts were not read in both lanes yet, so KL and the likeliest tokens are missing.")
    if st.button("Read the texts token by token", icon=":material/play_arrow:"):
        try:
            launch.start_reading(comparison, reading_request(comparison))
        except InputError as error:
            failure("They cannot be read:", str(error))
            return
        st.rerun()


def reading_request(comparison: Comparison) -> WriteRequest:
    """The request that would write a comparison again; raises `InputError` when a capture of it is gone."""
    analysis = session.open_analysis(comparison.analysis)
    specs = tuple(lane.spec for lane in comparison.lanes)
    return WriteRequest(
        analysis,
        session.model_key(analysis),
        specs,
        comparison.prompt,
        comparison.prompt_style,
        comparison.sampling,
        open_others(specs),
        comparison.answer,
        comparison.grid,
    )
