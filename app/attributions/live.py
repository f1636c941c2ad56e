"""Parts of Token attributions that need the model: any text's coordinates, logit lens, causal check.

Each starts from a button and runs as a job; its result stays until it is replaced.
"""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.attributions import charts as figures
from app.attributions.recorded import (
    COLUMNS,
    LETTER,
    THREE,
    chosen_token,
    ends,
    how_to_read_coordinates,
    readable,
    tips,
)
from app.jobs import probing
from app.jobs.job import Job
from app.jobs.models import shared
from app.jobs.probing import Probed
from app.jobs.requests import CheckRequest, LensRequest, ReadRequest, same_capture
from app.ui import launch, progress, session
from app.ui.session import Selection
from app.ui.tables import to_csv
from app.ui.tokens import Scale, strip_data, token_strip
from app.ui.widgets import (
    chart,
    counted,
    download,
    downloads,
    failure,
    is_dark,
    model_name,
    plain,
    provenance,
    small,
)
from spd_core.attribution.tables import scale_of, tokens_of
from spd_core.generation.report import signed
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    from spd_core.attribution.lens import Lens
    from spd_core.models.families import Site

_WORK: dict[str, Any] = {
    session.READ_JOB: probing.read,
    session.LENS_JOB: probing.lenses,
    session.CHECK_JOB: probing.check,
}


def _launch(label: str, job_key: str, request: Any) -> None:
    """The button that starts a job; while it runs, its progress (ticking) and a stop button. Errors stay below."""
    job = session.job(job_key)
    if job is not None and job.running:
        drawn = job.news is not None
        progress.ticking(job, done=lambda: job.news is not None and not drawn)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(label, type="primary", shortcut="Ctrl+Enter")
        if shared().models.resident is None:
            small(f"Loads {plain(model_name(request.analysis.provenance))} first: nothing is in memory yet.")
    if pressed:
        key, store = session.model_key(request.analysis), shared().models

        def work(job: "Job[Any, Any]") -> Any:
            return _WORK[job_key](job, request, key, store)

        launch.start(job_key, work)
        st.rerun()
    if job is not None and job.error:
        failure("This did not work:", job.error)


def _result(job_key: str) -> "Probed[Any, Any] | None":
    """The latest result, or what there is of it; one that failed or has only begun does not take the last one away."""
    job = session.job(job_key)
    found = (job.result or job.news) if job is not None else None
    if found is not None:
        st.session_state[f"{session.RESULT}_{job_key}"] = found
    return st.session_state.get(f"{session.RESULT}_{job_key}")


def _outdated(what: str) -> None:
    st.info(f"{what} has changed since this was computed; it stays until you press the button again.",
            icon=":material/edit:")  # fmt: skip


# --- any text ------------------------------------------------------------------------------------------------


def own_text(analysis: Analysis, site: "Site", at: Selection, hide: bool) -> None:
    """Coordinates of a text of the user's."""
    text = st.text_area(
        "Your own text", key=session.OWN_TEXT, persist_state="session", height=90,
        placeholder="Any text: it is read as it stands, and never leaves this machine.",
    ) or ""  # fmt: skip
    request = ReadRequest(analysis, text)
    _launch("Read this text", session.READ_JOB, request)
    result = _result(session.READ_JOB)
    if result is None:
        small("Its tokens appear here, each with its coordinate along the direction.")
        return
    made = result.request
    if not same_capture(made.analysis, analysis):
        st.info("Your text was read for another capture; read it again for this one.", icon=":material/edit:")
        return
    if made.text != text:
        _outdated("Your text")
    found, vector = result.found, analysis.sites[site].vectors[:, at.direction]
    rows = tokens_of([found.encoded], found.special_ids).assign(coordinate=found.coordinates(site, vector))
    scale = Scale(
        scale_of((rows[~rows.aside] if hide else rows).coordinate), f"{LETTER[at.kind]}·u, units of activation"
    )
    selected = session.clamped(st.session_state.get(session.OWN_TOKEN), 0, len(rows) - 1)

    def numbers(row: Any) -> list[str]:
        return [f"{LETTER[at.kind]}·u = {signed(row.coordinate, THREE)}"]

    data = strip_data(
        rows, "coordinate", scale, tips(rows, numbers), label="Coordinates of your text", selected=selected, hide=hide
    )
    token_strip(data, key="strip_own", on_pick=lambda token: st.session_state.update({session.OWN_TOKEN: token}))
    chosen_token(rows, selected, numbers)
    how_to_read_coordinates(at)
    ends(rows, hide, key=session.OWN_EXTREMES)
    download("Coordinates as CSV", lambda: to_csv(rows), "coordinates.csv")
    provenance(analysis, f"{site.label}, direction {at.direction + 1}", counted(len(rows), "token"),
               f"{result.seconds:.1f} s")  # fmt: skip


# --- logit lens ----------------------------------------------------------------------------------------------


def lens(analysis: Analysis, site: "Site", at: Selection) -> None:
    """Which tokens a value direction promotes and suppresses."""
    if site.kind == "key":
        st.info("Keys decide which tokens are looked at; they write nothing, so there is no logit lens of a key "
                "direction.")  # fmt: skip
        st.button(f"Show the values of layer {site.layer}", on_click=session.select, kwargs={"kind": "value"})
        return
    st.markdown(
        "What the direction would have the model say: the tokens that it makes more and less probable, found by "
        "following it through the attention's output projection, the final norm and the unembedding (the map from "
        "states to tokens). **Approximate:** it assumes that every query "
        "head looks at one token alone, and that later layers pass everything on."
    )
    _launch(f"Compute the lens of layer {site.layer}", session.LENS_JOB, LensRequest(analysis, site, at.direction))
    result = _result(session.LENS_JOB)
    if result is None:
        small("All directions of the layer are computed, so that you can step through them.")
        return
    made = result.request
    current = same_capture(made.analysis, analysis) and made.site == site and at.direction in result.found
    if not current:
        _outdated("The selection")
    direction = at.direction if current else made.first
    _draw_lens(result.found[direction], f"{made.site.label}, direction {direction + 1}")
    provenance(made.analysis, f"logit lens of {made.site.label}, direction {direction + 1}",
               f"{counted(len(result.found), 'direction')} in {result.seconds:.1f} s")  # fmt: skip


def _draw_lens(found: "Lens", title: str) -> None:
    import pandas as pd

    tokens = [*found.promoted, *found.suppressed[::-1]]
    table = pd.DataFrame([(t.text, t.score, t.id) for t in tokens], columns=["text", "score", "id"])
    left, right = st.columns((3, 2), gap="medium")
    figure = figures.lens_bars(tokens, dark=is_dark())
    with left:
        st.subheader(f"Logit lens of {title}", anchor=False)
        chart(figure, key="chart_lens", alt=f"Promoted and suppressed tokens of {title}.")
    with right:
        score = st.column_config.NumberColumn("Score, logits", format="%.3g")
        st.dataframe(readable(table), hide_index=True, height=figure.layout.height, alt="The logit lens as a table",
                     column_config=COLUMNS | {"score": score})  # fmt: skip
    st.markdown(
        "**How to read this:** adding the direction to a value pushes the model towards the orange tokens and away "
        "from the blue ones; subtracting it does the opposite. Compare scores within one lens only."
    )
    downloads("logit-lens", lambda: to_csv(table), lambda: [figures.lens_bars(tokens)], f"Logit lens of {title}")


# --- causal check --------------------------------------------------------------------------------------------

_SPLITS = {"calibration": "the calibration texts", "heldout": "held-out texts"}
_CHANGES = {
    "removed": "this direction removed", "random removed": "a random one removed",
    "only it": "only this direction kept", "only random": "only a random one kept",
}  # fmt: skip


def check(analysis: Analysis, site: "Site", at: Selection) -> None:
    """What removing a direction, or keeping nothing else, does to the probabilities of tokens under the loss."""
    st.markdown(
        f"Changes the {site.kind}s of layer {site.layer} at every token: takes the direction out, or leaves nothing "
        "else, and scores each token under the loss again. A random direction shows what *any* direction does."
    )
    splits = ["calibration", *(["heldout"] if analysis.capability.split("heldout").examples else [])]
    split = st.segmented_control("Scored on", splits, default="calibration", format_func=_SPLITS.__getitem__,
                                 key=session.SCORED, required=True, persist_state="session",
                                 help="The direction was fitted on the calibration texts; held-out ones are a fairer "
                                 "test.")  # fmt: skip
    request = CheckRequest(analysis, site, at.direction, split if split in splits else "calibration")
    _launch("Run the causal check", session.CHECK_JOB, request)
    result = _result(session.CHECK_JOB)
    if result is None:
        small("Changes of log-probability appear here, with intervals.")
        return
    if not result.request.asks_what(request):
        _outdated("The selection")
    _draw_check(result)


def _draw_check(result: "Probed[CheckRequest, Any]") -> None:
    import pandas as pd

    made, found = result.request, result.found
    rows = [
        dict(zip(("name", "mean", "low", "high"), (name, *found.mean(change)), strict=True), random="random" in name)
        for change, name in _CHANGES.items()
    ]
    title = f"{made.site.label}, direction {made.direction + 1}"
    st.subheader(f"Causal check of {title}", anchor=False)
    left, right = st.columns((3, 2), gap="medium")
    said = "; ".join(f"{row['name']} {row['mean']:+.3g} nats" for row in rows)
    with left:
        chart(figures.change_bars(rows, dark=is_dark()), key="chart_check", alt=f"Mean change of log p: {said}.")
    right.dataframe(
        pd.DataFrame(rows).drop(columns="random"), hide_index=True, alt="The causal check as a table",
        column_config={"name": "Change", **{name: st.column_config.NumberColumn(label, format="%.4g", help="Nats")
                       for name, label in (("mean", "Mean Δ log p"), ("low", "95 % from"), ("high", "to"))}},
    )  # fmt: skip
    st.markdown(
        "**How to read this:** left of 0 the change makes the tokens under the loss less probable. If the direction "
        "matters by itself, its dot lies further from 0 than the open ring of the random one, and the intervals do "
        "not meet."
    )
    table = found.table()
    with st.expander(f"Every token under the loss ({len(table)})"):
        st.dataframe(readable(table), hide_index=True, height=320, alt="Every token",
                     column_config={name: COLUMNS[name] for name in ("text", "id", "position")})  # fmt: skip
    downloads("causal-check", lambda: to_csv(table), lambda: [figures.change_bars(rows)], f"Causal check of {title}")
    stopped = len(found.examples) < found.requested
    provenance(
        made.analysis, f"causal check of {title}, on {_SPLITS[made.split]}",
        f"{'stopped at ' if stopped else ''}{len(found.examples)} of {counted(found.requested, 'text')}, "
        f"{counted(len(table), 'token')} under the loss",
        f"95 % bootstrap interval over texts, one random direction (seed {probing.SEED})", f"{result.seconds:.1f} s",
    )  # fmt: skip
