"""Which recorded sample Side by side opens on: by a rule that does not ask what a projected lane gets right.

Seeds and other lanes take no part in the choice; how often it goes which way is in the repeat beside it.
"""

from spd_core.evaluation.repeat_plan import in_question
from spd_core.evaluation.repeats import Repeat
from spd_core.generation.comparison import Comparison
from spd_core.generation.report import first_difference


def is_telling(comparison: Comparison, raw_is_right: bool | None) -> bool:
    """Whether there is something to see: raw is not wrong, and the lane in question does not write the same."""
    subject, _ = in_question([lane.spec for lane in comparison.lanes])
    changed = subject is not None and first_difference(comparison.lanes[subject], comparison) is not None
    return raw_is_right is not False and changed


def telling_prompt(repeat: Repeat) -> int | None:
    """The first prompt, counted from 0, that is telling with the first seed; None where there is none."""
    telling = (
        at for at, asked in enumerate(repeat.prompts) if is_telling(repeat.comparison(at, 0), asked.texts[0][0].right)
    )
    return next(telling, None)


def choice_sentence(repeat: Repeat) -> str:
    """How the sample was chosen, and of how many it is one."""
    raw, label = repeat.table.rows[0].right, repeat.lanes[0].label
    if raw is None:
        return "the first held-out prompt whose text projecting changes, at the first seed."
    return (
        f"the first held-out prompt that {label} answers rightly and whose text projecting changes, at the first seed. "
        f"Over prompts and seeds, {label} is right in {raw.count} of {raw.n}."
    )
