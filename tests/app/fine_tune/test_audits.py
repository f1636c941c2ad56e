"""Audits without a browser: what is drawn of one, the recorded ones on the page, and those of a run."""

from pathlib import Path

import pytest

from app.fine_tune import audit_charts, audit_text
from app.fine_tune.audit_files import recorded_training
from app.reports import fine_tune
from app.reports.blocks import Report, ReportStrip, ReportTable
from app.reports.page import report_html
from app.ui import session
from spd_core.distill.audit_steps import step_means
from spd_core.distill.audits import AUDITS, Audit, AuditedChunk
from spd_core.distill.recorded_audits import RECORDED_AUDITS, recorded_audits
from spd_core.recipes.distill import recipe_from
from spd_core.records import to_lines
from spd_core.runs import queue
from spd_core.runs.folder import Run
from spd_core.runs.record import Status
from tests.app.fine_tune.test_page import opened
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import press, text_of, verdict_of

HOSTILE = "<script>alert(1)</script>"
CHUNK = AuditedChunk(start=1, own="16 is", others=("16 was", HOSTILE), similar=(2 / 3, 0.0), prior=0.25, target=0.3055)
AUDIT = Audit(
    step=3, number=4, prompt="What is 8 + 8?", tokens=("It", " 16", " is", "<end>"), entropies=(0.5, 2.0, 1.0),
    chunks=(CHUNK,), divergence=0.01,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_starts(empty_history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, in which no job is really started."""
    monkeypatch.setattr(queue, "start_next", lambda: [])


# --- what is drawn ---------------------------------------------------------------------------------------------------


def test_the_strip_frames_the_tokens_of_a_chunk_and_colours_by_entropy() -> None:
    tokens = audit_text.rollout_strip(AUDIT, 2, 2.0, 0)["tokens"]
    assert [one["chunk"] for one in tokens] == [0, 1, 1, 0]
    assert [one["edge"] for one in tokens] == ["", "first", "last", ""]
    assert [one["chosen"] for one in tokens] == [False, True, True, False]
    assert [one["shade"] for one in tokens] == pytest.approx([0.5, 1.0, 0.5**0.5, 0.0], abs=1e-3)
    assert "its anchor" in tokens[1]["tip"]
    assert "entropy not kept" in tokens[3]["tip"]


def test_the_weight_is_written_out_with_its_numbers() -> None:
    """k = 2/3, N = 2, π̄ = 1/4, α = 1: (0.667 + 0.25) ÷ 3 = 0.3055."""
    said = audit_text.weight_in_words(CHUNK, 1.0)
    assert said.startswith("Agreement k ÷ N = 0.67 ÷ 2 = 0.33")
    assert said.endswith("= (0.67 + 1 × 0.25) ÷ (2 + 1) = 0.31")


def test_continuations_stand_most_alike_first_and_escaped() -> None:
    drawn = audit_text.chunk_html(
        AuditedChunk(**{**dict(CHUNK), "others": CHUNK.others[::-1], "similar": (0, 2 / 3)}), 1
    )
    assert drawn.index("0.67") < drawn.index("0.00")
    assert "<script>" not in drawn


def test_a_point_of_each_line_carries_its_step() -> None:
    figure = audit_charts.over_steps(step_means([AUDIT]), 3, False)
    assert [list(trace.customdata) for trace in figure.data] == [[3]] * 5
    assert {trace.yaxis for trace in figure.data} == {"y", "y2", "y3"}
    assert "entropy 1.167 to 1.167" in audit_charts.steps_alt(step_means([AUDIT]))


# --- on the page -----------------------------------------------------------------------------------------------------


def test_the_recorded_audits_are_small_and_real() -> None:
    assert recorded_audits() == ["arithmetic"]
    assert sum(path.stat().st_size for path in RECORDED_AUDITS.rglob("*") if path.is_file()) < 300_000
    training, settings = recorded_training("arithmetic")
    looked = training.looked()
    assert len(looked.steps) == settings.epochs * settings.prompts / settings.batch_size
    for audit in looked.audits:
        for chunk in audit.chunks:
            n, alpha = settings.chunks.samples, settings.chunks.prior
            assert len(chunk.others) == n
            assert chunk.target == pytest.approx((sum(chunk.similar) + alpha * chunk.prior) / (n + alpha), abs=1e-5)


def test_without_a_run_the_page_leads_to_the_recorded_ones_and_back() -> None:
    app = opened(runs_view="All runs")
    press(app, "See a recorded audit")
    assert not app.exception
    assert "".join(app.query_params[session.RECORDED_AUDIT]) == "arithmetic"
    assert verdict_of(app).startswith("The teacher agrees with")
    assert "the student wrote" in html_of(app)
    app.slider[0].set_value(2).run()
    assert "".join(app.query_params[session.AUDIT_STEP]) == "2"
    assert "Rollout of step 2" in [one.label for one in app.selectbox]
    press(app, "Back to Fine-tune")
    assert session.AUDIT_STEP not in app.query_params
    assert "All runs" in app.segmented_control[0].options


def test_a_link_opens_the_step_the_rollout_and_the_chunk() -> None:
    training, _ = recorded_training("arithmetic")
    audit = next(one for one in training.looked().audits if one.step > 1 and len(one.chunks) == 2)
    link = {session.AUDIT_STEP: audit.step, session.AUDIT_PROMPT: audit.number, session.AUDIT_CHUNK: 2}
    app = opened(recorded_audit="arithmetic", **{key: str(value) for key, value in link.items()})
    assert app.slider[0].value == audit.step
    assert app.selectbox[0].value == audit.number
    assert "Chunk 2: the student wrote" in html_of(app)


@pytest.mark.parametrize("bad", ["-3", "999999", "x", "1e9", "²"])
def test_a_senseless_link_shows_something_that_is_there(bad: str) -> None:
    keys = dict.fromkeys((session.AUDIT_STEP, session.AUDIT_PROMPT, session.AUDIT_CHUNK, session.AUDIT_OF), bad)
    app = opened(recorded_audit="arithmetic", **keys)
    assert not app.exception
    assert "the student wrote" in html_of(app)


def test_a_run_with_audits_has_a_part_for_them_and_one_without_has_none(tmp_path: Path) -> None:
    recipe = recipe_from({"preset": "quick", "capability": "arithmetic", "arms": ["spd"]})
    plain = queue.create(recipe, "Plain", "local")
    plain.write_status(Status(state="done", since=0))
    app = opened(run=plain.id)
    assert "Audits" not in app.segmented_control[1].options
    run = _audited_run([AUDIT, AUDIT.model_copy(update={"number": 5, "chunks": ()})])
    app = opened(run=run.id, part="Audits")
    assert not app.exception
    assert "Chunk 1: the student wrote" in html_of(app)
    assert "1 of 2 rollouts (50%)" in html_of(app).replace("\n", " ")
    app.selectbox[0].set_value(5).run()
    assert "nothing of it was put to the teacher" in text_of(app)


def test_the_report_of_a_run_has_its_audits() -> None:
    short = AUDIT.model_copy(update={"number": 2, "chunks": ()})
    run = _audited_run([AUDIT, short])
    section = fine_tune.audits_section(run)
    assert section is not None
    assert section.verdict.startswith("OmniOPD: The teacher agrees with 33%")
    (strip,) = [block for block in section.blocks if isinstance(block, ReportStrip)]
    assert [token.text for token in strip.tokens] == list(AUDIT.tokens), "one that has a chunk"
    assert [token.marks for token in strip.tokens][1:3] == [("largest", "chunk", "first"), ("largest", "chunk", "last")]
    assert "framed: a chunk" in strip.ends[2]
    rows = [row for block in section.blocks if isinstance(block, ReportTable) for row in block.rows]
    assert ["1", "0.667", "“16 was”"] in rows
    page = report_html(Report("t", "s", [section], [])).decode()
    assert HOSTILE not in page
    assert "16 was" in page
    recipe = recipe_from({"preset": "quick", "capability": "arithmetic", "arms": ["spd"]})
    assert fine_tune.audits_section(queue.create(recipe, "Plain", "local")) is None


def test_damaged_audits_are_said_and_nothing_else_breaks() -> None:
    run = _audited_run([AUDIT])
    path = run.folder / "arms" / "omniopd" / "round-1" / AUDITS
    path.write_text("{}\n")
    app = opened(run=run.id, part="Audits")
    assert not app.exception
    assert "The audits cannot be read" in text_of(app)


def _audited_run(audits: list[Audit]) -> Run:
    recipe = recipe_from(
        {"preset": "quick", "capability": "arithmetic", "arms": ["omniopd"], "omniopd": {"chunk_tokens": 2}}
    )
    run = queue.create(recipe, "Audited", "local")
    folder = run.folder / "arms" / "omniopd" / "round-1"
    folder.mkdir(parents=True)
    (folder / AUDITS).write_text(to_lines(audits))
    run.write_status(Status(state="done", since=0))
    return run
