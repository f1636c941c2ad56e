"""The section of a report on what projecting does to the text: lanes, their tokens, and prompts × seeds. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.reports.blocks import (
    Block,
    Replay,
    ReportFigure,
    ReportLane,
    ReportLanes,
    ReportNote,
    ReportSection,
    ReportTable,
)
from app.reports.strips import strip_block
from app.side_by_side import repeat_charts, ribbons, sweep_chart
from app.ui.widgets import counted
from spd_core.evaluation.repeat_verdict import repeat_verdict
from spd_core.evaluation.repeats import Repeat
from spd_core.generation import report
from spd_core.generation.comparison import Comparison, LaneText
from spd_core.generation.verdict import comparison_verdict
from spd_core.models.packaged import full_name

_STRIPS = 4
"""Lanes whose tokens are drawn in colours."""
_MOST_ROWS = 2_000
"""Of the table of tokens."""
MOST_MARKS = 3_000
"""Texts over prompts and seeds that are drawn one by one: each carries its text."""


@dataclass(frozen=True)
class Written:
    """A result of Side by side, with what is known of it.

    Attributes:
        right: whether each lane's answer is right; None where nobody knows.
        repeat: the same lanes over prompts and seeds, where they were repeated.
        cell: of a sweep, the lane that is shown beside raw; 0 for the last one.
    """

    result: Comparison
    right: Sequence[bool | None]
    repeat: Repeat | None = None
    cell: int = 0


def side_by_side_section(written: Written) -> ReportSection:
    """The lanes beside each other with what differs, the curves along the texts, and how often it is so."""
    result, repeat = written.result, written.repeat
    blocks = _sweep(written) if result.grid is not None else _lanes(result, written.right)
    repeated = "" if repeat is None else repeat_verdict(repeat).partition(". ")[0].rstrip(".") + "."
    return ReportSection(
        "Side by side",
        "What does projecting do to the text?",
        comparison_verdict(result, written.right, repeated),
        [*blocks, *([] if repeat is None else _repeat(repeat))],
    )


# --- one result ----------------------------------------------------------------------------------------------


def _lanes(result: Comparison, marks: Sequence[bool | None]) -> Iterator[Block]:
    first = result.lanes[0].label
    cards = [_card(lane, result, right) for lane, right in zip(result.lanes, marks, strict=True)]
    yield ReportLanes(
        result.prompt,
        result.answer,
        cards,
        f"Grey is the same as in {first} (in {first}: as in the lane beside it), token by token; ▼ is the first token "
        "that differs. After it all is shaded where the texts share few words; else the words that the other lacks are "
        f"underlined. {report.noise_sentence(result.sampling)}",
    )
    if not any(lane.tokens for lane in result.lanes):
        return
    yield from _strips(result)
    yield ReportFigure(
        lambda dark: ribbons.token_curves(result, dark=dark),
        "Log-probability, entropy and KL along the texts, a line a lane.",
        "Log-probability, entropy and KL of every token; the table below has the numbers.",
        "token-by-token",
    )
    yield _token_table(result)
    yield ReportTable("What the model read, letter for letter.", ["Text"], [[result.read]], folded=True)


def _card(lane: LaneText, result: Comparison, right: bool | None) -> ReportLane:
    bad = report.degenerate_reason(lane)
    lines = [
        report.lane_numbers(lane, result),
        *([f"It {parted}."] if (parted := report.divergence_sentence(lane, result)).startswith("differs") else []),
        *(["The same tokens as the first lane."] if parted.startswith("the same") else []),
        *([f"Degenerate: {bad}"] if bad else []),
        f"What is projected: {report.projection_sentence(lane, result)}.",
    ]
    return ReportLane(lane.label, report.lane_parts(lane, result), right, lines)


def _strips(result: Comparison) -> Iterator[Block]:
    metric = ribbons.KL if result.is_read else ribbons.LOGPROB
    lanes = [lane for lane in result.lanes if lane.tokens][:_STRIPS]
    most = ribbons.largest_value(lanes, metric)
    said = {
        ribbons.KL: "The deeper a token's colour, the more the lane's distribution there differs from that of",
        ribbons.LOGPROB: "The deeper a token's colour, the less likely the lane itself found it.",
    }[metric]
    for lane in lanes:
        other = "the other lane" if lane.other is None else result.lanes[lane.other].label
        caption = f"{said} {other} on the same text." if metric == ribbons.KL else said
        data = ribbons.ribbon(lane, other, metric, most, None)
        yield strip_block(data, f"{lane.label}: {counted(len(lane.tokens), 'token')} by {metric}", caption)


def _token_table(result: Comparison) -> ReportTable:
    rows = ribbons.token_rows(result)

    def told(value: object) -> str:
        return "–" if value is None else f"{value:.3f}".replace("-", "−") if isinstance(value, float) else str(value)

    names = list(rows[0])
    cells = [[told(row[name]) for name in names] for row in rows]
    whole = "Every token" if len(rows) <= _MOST_ROWS else f"The first {_MOST_ROWS:,} of {len(rows):,} tokens"
    return ReportTable(f"{whole} with its numbers, in nats.", names, cells[:_MOST_ROWS], folded=True)


# --- many results --------------------------------------------------------------------------------------------


def _sweep(written: Written) -> Iterator[Block]:
    result = written.result
    cell = written.cell or len(result.lanes) - 1
    for measure in sweep_chart.MEASURES:
        yield ReportFigure(
            lambda dark, measure=measure: sweep_chart.sweep_map(result, measure, cell, dark=dark),  # type: ignore[misc]
            f"Rank × strength: {measure} of each cell's text; the framed cell stands below beside raw.",
            f"{measure} of {len(result.lanes) - 1} cells; the table below has their texts.",
            f"sweep-{measure}",
        )
    yield from _lanes(result.cell(cell), (written.right[0], written.right[cell]))
    rows = [[lane.label, lane.text, report.lane_numbers(lane, result)] for lane in result.lanes]
    yield ReportTable("The text of every cell.", ["Cell", "Text", "Numbers"], rows, folded=True)


def _repeat(repeat: Repeat) -> Iterator[Block]:
    yield ReportNote(repeat_verdict(repeat))
    yield ReportFigure(
        lambda dark: repeat_charts.shares_figure(repeat, dark=dark),
        "How often each lane is right, differs and stops, with 95% intervals.",
        "Shares of texts with 95% intervals; the table below has the numbers.",
        "over-prompts-and-seeds",
    )
    if len(repeat.prompts) * len(repeat.seeds) * len(repeat.lanes) <= MOST_MARKS:
        yield ReportFigure(
            lambda dark: repeat_charts.matrix(repeat, None, dark=dark),
            "Every text as a mark: prompts from the top, seeds from the left, a block a lane.",
            "Every prompt and seed as a mark; the table below has the counts.",
            "every-text",
        )
    rows = repeat_charts.lane_rows(repeat)
    yield ReportTable("Each lane over prompts and seeds.", list(rows[0]), [list(row.values()) for row in rows])


# --- what made it --------------------------------------------------------------------------------------------


def writing_facts(result: Comparison) -> Iterator[tuple[str, str]]:
    """Where the texts come from."""
    model = full_name(result.model, result.revision)
    yield "Texts", f"{result.id}, written {result.created.replace('T', ' ')} with the capture {result.analysis}"
    yield "Model of the texts", f"{model}, {result.dtype} on {result.device}"
    yield "Capability of the texts", f"{result.capability}, {result.loss} loss, sha256 {result.fingerprint}"
    yield "Settings of the texts", f"{report.sampling_line(result.sampling)}; {result.prompt_style} prompts"
    yield "Time of the texts", f"written in {result.seconds:.1f} s, read in {result.reading_seconds:.1f} s"
    yield "Versions of the texts", ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))


def writing_replays(result: Comparison) -> Iterator[Replay]:
    """The program that writes the texts again."""
    yield Replay("Write the texts again, in Python", report.to_python(result))
