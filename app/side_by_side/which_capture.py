"""Which capture an item of an evaluation was answered with, and whether it is still there; never a lookalike."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.ui import session
from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell
from spd_core.models.families import parse_layers
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.subspace.store import recorded_captures

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis

_LOOKED_AT = 4  # captures that are opened in search of the one that fits


def capture_for(
    recipe: EvaluationRecipe, subject: Subject, cell: Cell, beside: Sequence[str]
) -> "tuple[Analysis, tuple[str, ...]]":
    """The capture that answered; for a subject that projects nothing, one of its model, in the same number format
    where there is one."""
    if subject.kind == "projected":
        return _very_capture(cell) if cell.capture else _likely_capture(recipe, subject, cell)
    of_model = [one for one in (*_opened(beside), *_candidates(recipe, subject)) if _same_model(one, cell)]
    if not of_model:
        raise _nothing_at_hand(Path(recipe.capability).stem, cell)
    found = next((one for one in of_model if one.provenance.dtype == cell.dtype), of_model[0])
    if found.provenance.dtype == cell.dtype:
        return found, ()
    note = (
        f"The table was written in {cell.dtype}, and this will be in {found.provenance.dtype}: they round differently."
    )
    return found, (note,)


def _same_model(one: "Analysis", cell: Cell) -> bool:
    return (one.provenance.model, one.provenance.revision) == (cell.model, cell.revision)


def _nothing_at_hand(what: str, cell: Cell) -> InputError:
    return InputError(
        f"no capture of {what} on {cell.model} is on this machine, and Side by side needs one: capture it on "
        "Home, then come back"
    )


def _very_capture(cell: Cell) -> "tuple[Analysis, tuple[str, ...]]":
    """The capture of this identity: under the name that the cell says, or, when that is gone, under another one."""
    found = _opened([cell.capture])
    if found and found[0].identity == cell.subspace:
        return found[0], ()
    for other in _opened([name for name in session.analysis_names() if name != cell.capture][:_LOOKED_AT]):
        if other.identity == cell.subspace:
            note = f"{cell.capture}, which answered, is gone; {other.name} is the same capture under another name."
            return other, (note,)
    why = (
        f"another capture has its name now, {cell.capture}: {_facts(found[0])}"
        if found
        else f"its capture {cell.capture} is gone, or damaged"
    )
    raise InputError(f"{why}; nothing else may stand in for what answered. Evaluate the subject again to open it")


def _facts(analysis: "Analysis") -> str:
    """What tells a capture from others."""
    record = analysis.provenance
    layers = ", ".join(map(str, record.layers))
    return f"{record.examples_used} examples of {record.capability}, {record.loss} loss, layers {layers}"


def _likely_capture(recipe: EvaluationRecipe, subject: Subject, cell: Cell) -> "tuple[Analysis, tuple[str, ...]]":
    """Of a table that does not say which capture answered, the one that fits best, and in what it differs from what
    the recipe asks for."""
    if subject.of == "shuffled answers":
        raise InputError(
            "this table was made before December 2026 and does not say which capture of shuffled answers it was; "
            "evaluate the subject again, and it can be opened"
        )
    loss = "full" if subject.of == "full loss" else recipe.capture.loss
    plain = (one for one in _candidates(recipe, subject) if one.provenance.left_out is None)
    fitting = [one for one in plain if _same_model(one, cell) and one.provenance.loss == loss]
    if not fitting:
        raise _nothing_at_hand(f"{subject.capture or Path(recipe.capability).stem} ({loss} loss)", cell)
    best = fitting[0] if subject.capture else min(fitting, key=lambda one: len(_otherwise(recipe, one)))
    differs = [] if subject.capture else _otherwise(recipe, best)
    note = "This table was made before December 2026 and does not say which capture answered."
    how = f"{best.name} is close to it, not the same: {'; '.join(differs)}" if differs else f"{best.name} looks like it"
    return best, (f"{note} {how}; the text that it writes will tell.",)


def _candidates(recipe: EvaluationRecipe, subject: Subject) -> "list[Analysis]":
    if subject.kind == "projected" and subject.capture:
        names = [name for name in session.analysis_names() if name == subject.capture]
    else:
        stem = Path(recipe.capability).stem
        names = [name for name in session.analysis_names() if name == stem or f"-{stem}-" in name]
        recorded = [name for name in names if name in recorded_captures()]
        names = [name for name in names if name not in recorded][:_LOOKED_AT] + recorded
        if subject.kind != "projected":  # any capture of the model will do
            names += [name for name in session.analysis_names() if name not in names][:_LOOKED_AT]
    return _opened(names)


def _opened(names: Sequence[str]) -> "list[Analysis]":
    """Those of these captures that can be opened."""
    captures = []
    for name in names:
        try:
            captures.append(session.open_analysis(name))
        except InputError:  # gone, or damaged: the page that opens it says so
            continue
    return captures


def _otherwise(recipe: EvaluationRecipe, analysis: "Analysis") -> list[str]:
    """In what a capture differs from what the recipe asks for."""
    wanted, record = recipe.capture, analysis.provenance
    said = []
    if wanted.examples is not None and wanted.examples != record.examples_used:
        said.append(f"{record.examples_used} examples, the table's {wanted.examples}")
    if not _same_layers(wanted.layers, record.layers):
        said.append(f"layers {', '.join(map(str, record.layers))}, the table's {wanted.layers}")
    if recipe.corpus.prompt_style != record.prompt_style:
        said.append(f"{record.prompt_style} prompts, the table's {recipe.corpus.prompt_style}")
    if wanted.center != record.center:
        said.append(f"{'centred' if record.center else 'not centred'}, the table's is the other way")
    return said


def _same_layers(rule: str, layers: list[int]) -> bool:
    try:
        return list(parse_layers(rule, max(layers) + 1)) == sorted(layers)
    except InputError:  # a layer beyond the capture's last one
        return False
