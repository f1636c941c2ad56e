"""Which subject is a control of which: roles, and what makes two subjects alike but for their role.

Knows neither scores nor what is shown.
"""

from spd_core.recipes.evaluation import Subject


def role(subject: Subject) -> str:
    """The name under which `CONTROLS` and the paper know a subject, whatever it is called here; empty for none."""
    if subject.kind == "base":
        return "base"
    if subject.kind == "distilled":
        return subject.arm or subject.adapter.partition("/")[2]
    if subject.kind == "projected" and not subject.complement:
        return {
            "capability": "projected",
            "random": "projected-random",
            "full loss": "projected-full",
            "shuffled answers": "projected-shuffled",
        }[subject.of]
    return ""


def _made(subject: Subject) -> tuple[object, ...]:
    """How a subject was made, its role left out: a control must be made in the same way."""
    run = subject.adapter.partition("/")[0]
    return subject.rank, subject.strength, subject.kinds, subject.layers, subject.capture, run


def alike(first: Subject, second: Subject) -> bool:
    """Whether they differ by nothing but their role."""
    return _made(first) == _made(second)
