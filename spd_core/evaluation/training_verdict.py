"""What a training may be said to show, in a sentence or two, by rule from its numbers; never more than they.

Knows neither models nor files. A training is no test: whether an arm helps is what an evaluation asks.
"""

from collections.abc import Iterable, Iterator, Mapping

from spd_core.evaluation.statistics import ALPHA, FEWEST, exact_p
from spd_core.recipes.distill import ArmName, short_name
from spd_core.runs.view import Curve, RunView
from spd_core.text import signed

LEADS: ArmName = "spd"
"""The arm that is spoken of first, where it is among them."""


def training_verdict(view: RunView, *, works: bool, tabled: bool = False) -> tuple[str, str]:
    """A sentence on one arm, and what is to be said of the others; both empty before anything was measured.

    Args:
        works: the run goes on, so that nothing here is the last word.
        tabled: a table beside it says how the others went.
    """
    last = _last_rounds(view)
    if not last:
        return "", ""
    first = LEADS if LEADS in last else next(iter(last))
    said = _sentence(first, *last[first], {arm: curve for arm, (_, curve) in last.items() if arm != first})
    others = [_in_short(arm, curve) for arm, (_, curve) in last.items() if arm != first]
    rest = [f"{'; '.join(others)}."] if others and not tabled else []
    rest += ["Each arm is scored on text of its own: a lower loss does not make it the better model."] if others else []
    return (f"So far: {said}" if works else said), " ".join(rest)


def _last_rounds(view: RunView) -> dict[str, tuple[int, Curve]]:
    """The last round of each arm of which something was measured."""
    found: dict[str, tuple[int, Curve]] = {}
    for (arm, round_), curve in sorted(view.curves.items(), key=lambda item: item[0][1]):
        if curve.held_out or curve.losses or curve.scored:
            found[arm] = round_, curve
    return {arm: found[arm] for arm in dict.fromkeys(arm for arm, _ in view.curves) if arm in found}


def _sentence(arm: str, round_: int, curve: Curve, others: Mapping[str, Curve]) -> str:
    """Loss and right answers of one arm, in full, and how far the loss of the others went."""
    name = short_name(arm) + (f", round {round_}" if round_ > 1 else "")
    return f"{'; '.join([_loss(name, curve) + _beside(curve, others), *_answers(curve)])}."


def _beside(curve: Curve, others: Mapping[str, Curve]) -> str:
    """`, the 5 other arms' by 0.01 to 0.03`: a fall that every control shares is no sign of the subspace."""
    changes = {arm: _change(other) for arm, other in others.items() if len(other.held_out) > 1}
    if len(curve.held_out) < 2 or not changes:
        return ""
    whose = f"that of {short_name(next(iter(changes)))}" if len(changes) == 1 else f"those of {len(changes)} other arms"
    if all(change * _change(curve) > 0 for change in changes.values()):
        return f", {whose} by {_range(map(abs, changes.values()), '.2f')}"
    return f", {whose} changed by {_range(changes.values(), '+.2f')}"


def _change(curve: Curve) -> float:
    """Of the held-out loss, first to last, in nats."""
    return curve.held_out[-1][2] - curve.held_out[0][2]


def _range(values: Iterable[float], form: str) -> str:
    """`0.01 to 0.03`, or one number where the decimals tell no more apart."""
    ordered = sorted(values)
    return " to ".join(dict.fromkeys(signed(end, form) for end in (ordered[0], ordered[-1])))


def _loss(name: str, curve: Curve) -> str:
    if curve.held_out:
        points = [(_when(step, epoch), loss) for step, epoch, loss in curve.held_out]
        return _moved("held-out loss", name, points)
    points = [(f" in epoch {epoch:g}", loss) for _, epoch, loss in curve.epoch_means()]
    if not points:
        return f"{name} has begun"
    return f"{_moved('train loss', name, points)}, and nothing was held out to tell learning from memory"


def _when(step: int, epoch: float) -> str:
    return " before the training" if step == 0 else f" after epoch {epoch:g}"


def _moved(what: str, name: str, points: list[tuple[str, float]]) -> str:
    """`SPD: held-out loss fell from 2.51 to 2.14 nats`, as two decimals show it; when, where it was not before."""
    (begun, first), (ended, last) = points[0], points[-1]
    from_, to = f"{first:.2f}", f"{last:.2f}"
    if len(points) == 1:
        return f"{name}: {what} is {to} nats{ended}"
    if from_ == to:
        return f"{name}: {what} stayed at {to} nats"
    verb = "fell" if last < first else "rose"
    if begun == _when(0, 0):
        return f"{name}: {what} {verb} from {from_} to {to} nats"
    return f"{name}: {what} {verb} from {from_} nats{begun} to {to}{ended}"


# --- right answers -----------------------------------------------------------------------------------------------


def _answers(curve: Curve) -> Iterator[str]:
    """How many held-out prompts were answered rightly, and whether that can be told from luck."""
    if not curve.scored:
        return
    (step, epoch, before, n), (last, ended, after, m) = curve.scored[0], curve.scored[-1]
    if len(curve.scored) == 1 or n != m:
        yield f"right on {after} of {m} held-out prompts{_when(last, ended)}"
        return
    begun = "before" if step == 0 else f"after epoch {epoch:g}"
    then = "at the end" if last >= curve.planned else f"after epoch {ended:g}"
    if before == after:
        yield f"right on {after} of {n} held-out prompts, {begun} and {then}"
        return
    yield f"right on {before} of {n} held-out prompts {begun}, {after} {then}: {_luck(before, after, n)}"


def _luck(before: int, after: int, n: int) -> str:
    """What may be said of a change of right answers on the same prompts, of which only the sums are known.

    With fewer than `FEWEST` no exact test of pairs can reach 5%, whichever answers changed. Beyond that a change
    counts where that test does even if as many as possible went the other way.
    """
    if abs(after - before) < FEWEST:
        return "too few to tell"
    back = min(before, after, n - before, n - after)
    p = exact_p(back + abs(after - before), back)
    return "more than luck would do" if p < ALPHA else "luck could do that"


def _in_short(arm: str, curve: Curve) -> str:
    """`PSR 2.07 → 2.05 nats, 3 → 4 of 8 right`."""
    losses: Mapping[bool, list[float]] = {
        True: [loss for _, _, loss in curve.held_out],
        False: [loss for _, _, loss in curve.epoch_means()],
    }
    known = losses[bool(curve.held_out)]
    said = [f"{' → '.join(f'{loss:.2f}' for loss in dict.fromkeys((known[0], known[-1])))} nats"] if known else []
    if curve.scored:
        counts = dict.fromkeys((curve.scored[0][2], curve.scored[-1][2])) if len(curve.scored) > 1 else {}
        ends = " → ".join(map(str, counts or [curve.scored[-1][2]]))
        said.append(f"{ends} of {curve.scored[-1][3]} right")
    kind = "" if curve.held_out else "train loss "
    return f"{short_name(arm)} {kind}{', '.join(said) or 'has begun'}"
