"""What lanes over prompts and seeds show, in a few sentences, by rule from the table; never more than its intervals."""

from spd_core.evaluation.repeat_table import RepeatChange, RepeatTable
from spd_core.evaluation.repeats import Repeat
from spd_core.evaluation.statistics import FEWEST


def repeat_verdict(repeat: Repeat) -> str:
    """How often the lane in question is right beside raw, whether it differs more often than its control, and what
    that leaves open; empty where raw is alone."""
    table = repeat.table
    if table.subject is None:
        return ""
    answers = _answers(repeat, table, table.subject)
    lead = "" if answers else f"{_over(repeat)}, "
    said = [answers, _texts(repeat, table, table.subject, lead), _reach(repeat, table)]
    return " ".join(part for part in said if part)


def _over(repeat: Repeat) -> str:
    prompts, seeds = len(repeat.prompts), len(repeat.seeds)
    return f"Over {_counted(prompts, 'prompt')} × {_counted(seeds, 'seed')}"


def _answers(repeat: Repeat, table: RepeatTable, subject: int) -> str:
    """How often both are right, and whether the difference is shown; beside the control where it is."""
    raw, own = table.rows[0], table.rows[subject]
    label, first = repeat.lanes[subject].label, repeat.lanes[0].label
    if own.right is None or raw.right is None or own.beyond_raw is None:
        return ""
    times = f"{label} is right {own.right.count} of {own.n} times, {first} {raw.right.count}"
    if table.units < FEWEST and table.unit == "prompt":
        return f"{_over(repeat)}, {times}: {table.units} prompts are too few to show a difference."
    change = own.beyond_raw
    if not change.shown:
        return f"{_over(repeat)}, {times}: no difference is shown ({_points(change)})."
    which = "more" if change.value > 0 else "less"
    return f"{_over(repeat)}, {times}: {which} often ({_points(change)}).{_beside_control(repeat, table, change)}"


def _beside_control(repeat: Repeat, table: RepeatTable, change: RepeatChange) -> str:
    """Whether the control would do what was shown."""
    beyond = table.right_beyond_control
    if table.control is None or beyond is None:
        return " Without a control lane it is open whether any subspace would do that."
    control = table.rows[table.control]
    count = control.right.count if control.right is not None else 0
    name = f"{repeat.lanes[table.control].label} is right {count} times"
    if beyond.shown and (beyond.value > 0) == (change.value > 0):
        return f" {name}: the difference to this random subspace is shown, too ({_points(beyond)})."
    return f" {name}: that this subspace does more than this random one is not shown ({_points(beyond)})."


def _texts(repeat: Repeat, table: RepeatTable, subject: int, lead: str) -> str:
    """How often the texts differ from raw, and whether the control's do as often; `lead` says over what, once."""
    if not (repeat.sampling.greedy or repeat.sampling.shared_randomness):
        return (
            "Every lane drew its own noise, so texts differ by chance, too: turn shared randomness on to compare them."
        )
    own, first = table.rows[subject], repeat.lanes[0].label
    label = repeat.lanes[subject].label
    differs = f"{lead}{label} differs from {first} in {own.differs.count} of {own.n} texts"
    beyond = table.differs_beyond_control
    if table.control is None or beyond is None:
        return f"{differs}; without a control lane it is open whether any subspace would do that."
    control = table.rows[table.control]
    both = f"{differs}, {repeat.lanes[table.control].label} in {control.differs.count}"
    if own.differs.count == control.differs.count == 0:
        return f"{both}: neither changes any of these texts."
    if beyond.shown and beyond.value > 0:
        return f"{both}: this subspace changes texts more often than this random one ({_points(beyond)})."
    if beyond.shown:
        return f"{both}: this subspace changes texts less often than this random one ({_points(beyond)})."
    return f"{both}: that the subspace matters is not shown ({_points(beyond)})."


def _reach(repeat: Repeat, table: RepeatTable) -> str:
    """What else has to be known to read it: what is missing, and what it speaks of."""
    said = []
    if repeat.stopped:
        prompts, seeds = repeat.planned
        said.append(f"Stopped early: {prompts} × {seeds} were asked for.")
    if table.unit == "seed":
        said.append("This speaks of one prompt alone.")
    return " ".join(said)


def _points(change: RepeatChange) -> str:
    """The interval in percentage points."""
    return f"95%: {_signed(change.low)} to {_signed(change.high)} points"


def _signed(share: float) -> str:
    points = round(100 * share)
    return f"+{points}" if points > 0 else f"−{-points}" if points < 0 else "0"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
