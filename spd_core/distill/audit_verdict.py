"""What audits of a training may be said to show, in a few sentences, by rule from their numbers; never more than they.

Whether the training helps is no matter of audits: an evaluation asks that.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from spd_core.distill.audit_steps import StepMeans, step_means, unrelated
from spd_core.distill.audits import Audit


def audit_verdict(audits: Sequence[Audit]) -> str:
    """How much of the student's text the teacher says as well, what became of the weight, and where there is little
    to work on; empty where nothing was audited yet."""
    if not audits:
        return ""
    steps = step_means(audits)
    chunks = [chunk for audit in audits for chunk in audit.chunks]
    if not chunks:
        return (
            f"None of the {len(audits)} rollouts is as long as a chunk. Nothing was put to the teacher, and only the "
            "divergence from the untouched model was trained on."
        )
    agreed = fmean(fmean(chunk.similar) for chunk in chunks)
    said = [f"The teacher agrees with {agreed:.0%} of what the student wrote (k ÷ N); {_weight(steps)}."]
    said += [_beside_strangers(agreed, unrelated(audits)), _unaudited(audits)]
    return " ".join(one for one in said if one)


def _weight(steps: Sequence[StepMeans]) -> str:
    """`the weight went from 0.38 to 0.41 in 10 steps`, and whether that is more than its usual swing."""
    known = [one for one in steps if not math.isnan(one.target)]
    first, last = known[0], known[-1]
    before, after = f"{first.target:.2f}", f"{last.target:.2f}"
    if first is last:
        return f"the mean weight in step {first.step} is {before}"
    passed = last.step - first.step + 1
    if before == after:
        return f"the weight is {before} at the first and at the last of {passed} steps"
    swing = fmean(abs(two.target - one.target) for one, two in pairwise(known))
    went = f"the weight went from {before} to {after} in {passed} steps"
    return went if abs(last.target - first.target) > swing else f"{went}, no more than it swings between two of them"


def _beside_strangers(agreed: float, level: float) -> str:
    """What the agreement is worth: beside that of texts for other prompts."""
    if math.isnan(level):
        return ""
    said = f"With what it wrote for other prompts it would be {level:.0%}"
    if round(100 * agreed) <= round(100 * level):
        return f"{said}: the agreement is no higher than that, so it says little about the answer."
    return f"{said}."


def _unaudited(audits: Sequence[Audit]) -> str:
    """How many rollouts have nothing to audit."""
    without = sum(not audit.chunks for audit in audits)
    if not without:
        return ""
    said = f"{without} of {len(audits)} rollouts ({without / len(audits):.0%}) are shorter than a chunk"
    if 2 * without > len(audits):
        return f"{said}: the method has little to work on."
    return f"{said}, and teach nothing but to stay as it was."
