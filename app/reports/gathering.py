"""What is kept of one capture on this machine, found when a study is asked for: texts, repeats, an evaluation."""

from contextlib import suppress

from app.reports.chosen import InHand
from app.reports.side_by_side import Written
from app.reports.study import Study
from app.ui.recorded_texts import open_once, recorded_for, repeat_for
from spd_core.errors import InputError
from spd_core.evaluation.lane_scores import lane_scores
from spd_core.evaluation.table import Table, read_table
from spd_core.generation.comparison import Comparison
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import Run, all_runs, recorded_runs
from spd_core.runs.record import RunRecord
from spd_core.subspace.analysis import Analysis


def study_of(held: InHand, overlays: tuple[str, ...], written: str) -> Study:
    """The study of a capture.

    Args:
        written: id of the result that Side by side shows; empty for none. It is taken where it is of this capture,
            else the recorded one that shows most.
    """
    return Study(held, overlays, _written(held.analysis, written), _evaluated(held.analysis))


def _written(analysis: Analysis, name: str) -> Written | None:
    result = _opened(name, analysis) or recorded_for(analysis.name)
    if result is None:
        return None
    return Written(result, lane_scores(result, analysis.capability.settings), repeat_for(result))


def _opened(name: str, analysis: Analysis) -> Comparison | None:
    if not name:
        return None
    with suppress(InputError):  # it was deleted since; Side by side says so
        found = open_once(name)
        return found if found.analysis == analysis.name else None
    return None


def _evaluated(analysis: Analysis) -> tuple[RunRecord, Table] | None:
    """The newest evaluation of the same capability on the same model that has an answer, the recorded ones last."""
    own = (run for run in all_runs() if isinstance(run, Run))
    for run in (*own, *recorded_runs()):
        recipe = run.record.recipe
        if not isinstance(recipe, EvaluationRecipe) or recipe.capability != analysis.provenance.capability:
            continue
        table = read_table(recipe, run.folder)
        revisions = {cell.revision for one in table.answered.values() for cell in one.cells}
        if analysis.provenance.revision in revisions:
            return run.record, table
    return None
