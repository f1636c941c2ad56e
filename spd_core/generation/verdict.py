"""The one sentence on a comparison: what projecting did to this text, and whether the subspace did it.

By rule from the lanes alone; it says no more than one text can show. Knows nothing of right and wrong answers beyond
what it is handed.
"""

from collections.abc import Sequence

from spd_core.generation.comparison import Comparison, LaneText
from spd_core.generation.report import first_difference

_ONE_TEXT = "One text is no proof: repeat it over prompts and seeds."


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
        return _of_a_sweep(comparison)
    lane, mixed = _first(comparison, control=False), _mixed(comparison, control=False)
    if lane is None and mixed is None:
        return ""
    chance = comparison.sampling
    if not (chance.greedy or chance.shared_randomness):
        return "Every lane drew its own noise, so a difference between them can be chance. Turn shared randomness on."
    said = [
        _mix_effect(comparison, mixed, _mixed(comparison, control=True)) if mixed else "",
        _effect(comparison, lane, _first(comparison, control=True)) if lane else "",
    ]
    once = [part.removesuffix(_ONE_TEXT).strip() for part in said]
    proof = _ONE_TEXT if once != said and not repeated else ""
    return " ".join(part for part in (*once, proof, _answers(comparison, right), repeated) if part)


def _first(comparison: Comparison, *, control: bool) -> LaneText | None:
    """The first lane that projects into the capability's subspace, or into a control's."""
    found = (one for one in comparison.lanes[1:] if one.spec.projects and not one.spec.gains and one.adapter is None)
    return next((one for one in found if _is_control(one) == control), None)


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
        did = f"writes the same text as {raw}" if at is None else f"parts from {raw} at token {at + 1}"
        return f"{lane.label} {did}. Without a control lane it is open whether any subspace would do that."
    of_control = first_difference(control, comparison)
    if at is None and of_control is None:
        return f"{lane.label} and {control.label} write the same text as {raw}: projecting changes nothing here."
    if at is None:
        return (
            f"{lane.label} writes the same text as {raw}; {control.label} parts from it at token "
            f"{(of_control or 0) + 1}: this text needs what the subspace keeps. {_ONE_TEXT}"
        )
    if of_control is None:
        return (
            f"{lane.label} parts from {raw} at token {at + 1} and {control.label} never does: here it is this "
            f"subspace, not projecting as such. {_ONE_TEXT}"
        )
    where = f"at token {at + 1}" if at == of_control else f"at tokens {at + 1} and {of_control + 1}"
    both = f"{lane.label} and {control.label} both part from {raw}, {where}"
    return f"{both}: here projecting did it, whatever the subspace."


def _mix_effect(comparison: Comparison, lane: LaneText, control: LaneText | None) -> str:
    raw, name, drawn = comparison.lanes[0].label, "The mixed lane", "the same gains on random directions"
    at = first_difference(lane, comparison)
    did = f"{name} writes the same text as {raw}" if at is None else f"{name} parts from {raw} at token {at + 1}"
    if control is None:
        return f"{did}. Without {drawn} beside it, it is open whether any directions would do that."
    of_control = first_difference(control, comparison)
    if at is None and of_control is None:
        return f"{name} and {drawn} write the same text as {raw}: these gains change nothing here."
    if at is None or of_control is None:
        other = "never do" if of_control is None else f"part from it at token {of_control + 1}"
        return f"{did} and {drawn} {other}: here it matters which directions they are. {_ONE_TEXT}"
    where = f"at token {at + 1}" if at == of_control else f"at tokens {at + 1} and {of_control + 1}"
    return f"{name} and {drawn} both part from {raw}, {where}: here the gains did it, whatever the directions."


def _answers(comparison: Comparison, right: Sequence[bool | None]) -> str:
    known = [(lane.label, one) for lane, one in zip(comparison.lanes, right, strict=False) if one is not None]
    if not known:
        return ""
    good = [label for label, one in known if one]
    if len(good) == len(known):
        return "All answers are right."
    return f"Right: {', '.join(good)}." if good else "No answer is right."


def _of_a_sweep(comparison: Comparison) -> str:
    cells = comparison.lanes[1:]
    same = sum(first_difference(cell, comparison) is None for cell in cells)
    return (
        f"{same} of {len(cells)} combinations of rank and strength write the same text as {comparison.lanes[0].label}."
    )
