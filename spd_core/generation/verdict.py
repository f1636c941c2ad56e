"""The one sentence on a comparison: what projecting did to this text, and whether its control did it, too.

By rule from the lanes alone; it speaks of this one sample, and leaves causes to what is repeated over prompts and
seeds. Knows nothing of right and wrong answers beyond what it is handed.
"""

from collections.abc import Sequence

from spd_core.generation.comparison import Comparison, LaneText
from spd_core.generation.report import first_difference

_ONE_SAMPLE = "One sample is no proof: repeat it over prompts and seeds."


def comparison_verdict(comparison: Comparison, right: Sequence[bool | None] = (), repeated: str = "") -> str:
    """What mixing and projecting changed in this text, each beside its control where there is one; empty where no lane
    does either.

    Args:
        right: whether each lane's answer is right; None or nothing where that is not known.
        repeated: the sentence on the same lanes over prompts and seeds, where they were repeated: it ends the verdict.
    """
    if not any(lane.tokens for lane in comparison.lanes):
        return ""
    if comparison.grid is not None:
        return _of_a_sweep(comparison, right)
    lane, mixed = _first(comparison, control=False), _mixed(comparison, control=False)
    if lane is None and mixed is None:
        return ""
    chance = comparison.sampling
    if not (chance.greedy or chance.shared_randomness):
        return "Every lane drew its own noise, so a difference between them can be chance. Turn shared randomness on."
    effects = [
        _mix_effect(comparison, mixed, _mixed(comparison, control=True)) if mixed else "",
        _effect(comparison, lane, _first(comparison, control=True)) if lane else "",
    ]
    said = [*(one for one in effects if one), _answers(comparison, right), repeated or _ONE_SAMPLE]
    return f"In this sample {' '.join(part for part in said if part)}"


def _first(comparison: Comparison, *, control: bool) -> LaneText | None:
    """The first lane that projects into the capability's subspace, or into a control's: a random one before the
    complement, as over prompts and seeds."""
    lanes = [one for one in comparison.lanes[1:] if one.spec.projects and not one.spec.gains and one.adapter is None]
    found = sorted((one for one in lanes if _is_control(one) == control), key=lambda one: one.spec.of != "random")
    return next(iter(found), None)


def _mixed(comparison: Comparison, *, control: bool) -> LaneText | None:
    """The first lane that only mixes directions of the capability, or the same gains on random directions."""
    found = [one for one in comparison.lanes[1:] if one.spec.mixed and one.adapter is None]
    own = next((one for one in found if one.spec.of == "capability"), None)
    if own is None or not control:
        return own
    return next((one for one in found if one.spec.of == "random" and one.spec.gains == own.spec.gains), None)


def _is_control(lane: LaneText) -> bool:
    return lane.spec.of != "capability" or lane.spec.complement


def _effect(comparison: Comparison, lane: LaneText, control: LaneText | None) -> str:
    raw = comparison.lanes[0].label
    at = first_difference(lane, comparison)
    if control is None:
        return f"{_did(lane.label, at, raw)}. Without a control lane it is open whether any subspace would do that."
    return _beside(lane.label, at, control.label, first_difference(control, comparison), raw, "this subspace")


def _mix_effect(comparison: Comparison, lane: LaneText, control: LaneText | None) -> str:
    raw, name, drawn = comparison.lanes[0].label, "the mixed lane", "the same gains on random directions"
    at = first_difference(lane, comparison)
    if control is None:
        return f"{_did(name, at, raw)}. Without {drawn} beside it, it is open whether any directions would do that."
    lane_of_control = f"the lane with {drawn}"
    return _beside(name, at, lane_of_control, first_difference(control, comparison), raw, "these directions")


def _did(name: str, at: int | None, raw: str) -> str:
    return (
        f"{name} writes the same text as {raw}" if at is None else f"{name} differs from {raw} from token {at + 1} on"
    )


def _beside(name: str, at: int | None, control: str, of_control: int | None, raw: str, whose: str) -> str:
    """What a lane did and what its control did; only where both differ can it be said what that speaks for: nothing."""
    if at is None and of_control is None:
        return f"{name} and {control} write the same text as {raw}."
    if at is None or of_control is None:
        other = "does not" if of_control is None else f"differs from token {of_control + 1} on"
        return f"{_did(name, at, raw)}; {control} {other}."
    too = "and so does" if at == of_control else "and"
    where = "" if at == of_control else f" from token {of_control + 1} on"
    return f"{_did(name, at, raw)}, {too} {control}{where}: nothing here speaks for {whose}."


def _answers(comparison: Comparison, right: Sequence[bool | None]) -> str:
    known = [(lane.label, one) for lane, one in zip(comparison.lanes, right, strict=False) if one is not None]
    if not known:
        return ""
    good, bad = ([label for label, one in known if one is which] for which in (True, False))
    if not bad:
        return "All answers are right."
    return f"{_listed(good)} right; {_listed(bad)} not." if good else "No answer is right."


def _listed(labels: Sequence[str]) -> str:
    """`A is`, `A and B are`, `A, B and C are`."""
    *others, last = labels
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


def _of_a_sweep(comparison: Comparison, right: Sequence[bool | None]) -> str:
    cells, raw = comparison.lanes[1:], comparison.lanes[0].label
    same = sum(first_difference(cell, comparison) is None for cell in cells)
    said = f"In this sample {same} of {len(cells)} combinations of rank and strength write the same text as {raw}."
    if not right or None in right:
        return said
    return f"{said} {sum(map(bool, right[1:]))} of {len(cells)} are right; {raw} is {'right' if right[0] else 'wrong'}."
