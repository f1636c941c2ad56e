"""Whether the lanes of a comparison are right, by the scorer of their capability."""

from spd_core.data.capability import Example, Settings
from spd_core.evaluation.scoring import score
from spd_core.generation.comparison import Comparison
from spd_core.sandbox.run import Verdict


def lane_scores(comparison: Comparison, settings: Settings) -> tuple[bool | None, ...]:
    """For each lane whether its answer is right; None where no answer is known, nothing was written, or only running
    code or a likelihood could tell."""
    if comparison.answer is None or settings.scorer not in ("number", "letter", "exact"):
        return (None,) * len(comparison.lanes)
    example = Example(prompt=comparison.prompt, answer=comparison.answer)
    return tuple(
        score(example, settings, lane.text, lane.finish, _no_code).correct if lane.tokens else None
        for lane in comparison.lanes
    )


def _no_code(*_: object) -> Verdict:
    raise AssertionError("none of these scorers runs code")
