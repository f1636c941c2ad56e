"""Whether what lanes wrote is right, by the scorer of their capability."""

from spd_core.data.capability import Example, Settings
from spd_core.evaluation.scoring import Runner, score
from spd_core.generation.comparison import Comparison
from spd_core.sandbox.run import Verdict


def lane_scores(comparison: Comparison, settings: Settings) -> tuple[bool | None, ...]:
    """For each lane whether its answer is right; None where no answer is known, nothing was written, or only running
    code or a likelihood could tell."""
    if comparison.answer is None:
        return (None,) * len(comparison.lanes)
    example = Example(prompt=comparison.prompt, answer=comparison.answer)
    return tuple(
        text_score(example, settings, lane.text, lane.finish, None) if lane.tokens else None
        for lane in comparison.lanes
    )


def text_score(example: Example | None, settings: Settings, text: str, finish: str, run: Runner | None) -> bool | None:
    """Whether a text answers an example rightly; None without one, where only a likelihood could tell, and for code
    without something that runs it."""
    if example is None or settings.scorer == "nll" or (settings.scorer == "python" and run is None):
        return None
    return score(example, settings, text, finish, run or _no_code).correct


def _no_code(*_: object) -> Verdict:
    raise AssertionError("scorers of text run no code")
