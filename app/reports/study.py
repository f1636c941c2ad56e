"""A whole study of a capture as sections, one after the other: capture, spectrum, tokens, texts, evaluation. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.lesson.sentences import say_loss
from app.reports.attributions import attributions_section
from app.reports.blocks import Block, Replay, Report, ReportSection, ReportStrip, StripToken
from app.reports.chosen import InHand
from app.reports.evaluation import evaluation_facts, evaluation_replays, evaluation_section
from app.reports.origins import capture_facts, capture_replays
from app.reports.side_by_side import Written, side_by_side_section, writing_facts, writing_replays
from app.reports.spectrum import spectrum_section
from app.ui.tokens import drawn_token
from app.ui.widgets import counted, model_name, ranges
from spd_core.evaluation.table import Table

if TYPE_CHECKING:
    from spd_core.data.spans import Encoded
    from spd_core.runs.record import RunRecord


@dataclass(frozen=True)
class Study:
    """What is known of one capture.

    Attributes:
        overlays: what the spectrum's curves are drawn beside.
        written: the texts that show what projecting does; None where nothing was written.
        evaluated: the record and the table of an evaluation of the same capability on the same model; None where none
            is kept.
    """

    held: InHand
    overlays: tuple[str, ...]
    written: Written | None = None
    evaluated: "tuple[RunRecord, Table] | None" = None


def study_report(study: Study) -> Report:
    """All of it as one report; what was not done is said as such."""
    record = study.held.analysis.provenance
    model = model_name(record).rpartition("/")[2].partition("@")[0]
    rank = f"rank {study.held.rank} of {study.held.analysis.d_kv}"
    return Report(
        f"{record.capability[:1].upper()}{record.capability[1:]} in {model}",
        f"A study of {counted(record.examples_used, 'example')}, layers {ranges(record.layers)}, {rank}",
        list(_sections(study)),
        [*capture_facts(study.held), *_more_facts(study)],
        [*capture_replays(study.held), *_more_replays(study)],
    )


def _sections(study: Study) -> Iterator[ReportSection]:
    yield capture_section(study.held)
    yield spectrum_section(study.held, study.overlays)
    yield attributions_section(study.held)
    name = study.held.analysis.provenance.capability
    if study.written is None:
        said = f"Nothing was written with this capture of {name}."
        yield ReportSection("Side by side", "What does projecting do to the text?", said, [])
    else:
        yield side_by_side_section(study.written)
    if study.evaluated is None:
        said = f"Not measured: no evaluation of {name} on this model is kept."
        yield ReportSection("Evaluation", "Did it help, and was it the subspace?", said, [])
    else:
        yield evaluation_section(study.evaluated[1])


def _more_facts(study: Study) -> Iterator[tuple[str, str]]:
    if study.written is not None:
        yield from writing_facts(study.written.result)
    if study.evaluated is not None:
        record, table = study.evaluated
        yield from evaluation_facts(table, record)


def _more_replays(study: Study) -> Iterator[Replay]:
    if study.written is not None:
        yield from writing_replays(study.written.result)
    if study.evaluated is not None:
        yield from evaluation_replays(study.evaluated[0])


# --- the capture ---------------------------------------------------------------------------------------------


def capture_section(held: InHand) -> ReportSection:
    """What was captured: the selected text with the tokens that carry the loss."""
    analysis, question = held.analysis, "Which tokens decide whether an answer is right?"
    if not analysis.examples:
        said = f"This capture of {analysis.provenance.capability} kept no texts."
        return ReportSection("Capture", question, said, [])
    encoded = analysis.examples[held.at.example]
    blocks: list[Block] = [_loss_strip(encoded, held)]
    return ReportSection("Capture", question, say_loss(encoded, analysis.provenance), blocks)


def _loss_strip(encoded: "Encoded", held: InHand) -> ReportStrip:
    supervised = set(encoded.supervised)
    tokens = []
    for at, (start, end) in enumerate(encoded.offsets):
        text = drawn_token(encoded.text[start:end], encoded.continues(at))
        inked = text.rstrip("\n")
        said = "the loss is taken on it" if at in supervised else "context, no loss"
        tip = f"“{inked}” · position {at} · token id {encoded.ids[at]}\n{said}"
        tokens.append(
            StripToken(inked, 7 * (at in supervised), tip, ("loss",) * (at in supervised), text[len(inked) :])
        )
    return ReportStrip(
        f"Calibration text {held.at.example + 1} of {len(held.analysis.examples)}",
        tokens,
        False,
        ("context", "loss", "token, framed"),
        "The loss is the mean of −log p over the framed tokens alone; its gradient is taken with respect to the keys "
        "and values of every token.",
        encoded.supervised[0] if encoded.supervised else 0,
    )
