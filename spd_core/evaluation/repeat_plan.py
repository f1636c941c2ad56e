"""Which prompts and seeds a repeat goes through, and which of its lanes is in question. Imports no torch: pages ask."""

from collections.abc import Sequence

from spd_core.data.capability import Capability, Example, Split
from spd_core.recipes.lanes import LaneSpec, Sampling

PROMPTS, SEEDS = 8, 3
"""Until others are chosen."""


def prompts_from(capability: Capability, prompt: str, most: int) -> tuple[Split | None, list[Example]]:
    """The prompt first, then others of the split that it is from, in their order; alone where it is from none.

    Returns:
        the split; and the examples, with an empty answer where none is known.
    """
    splits: tuple[Split, ...] = ("heldout", "calibration", "train")
    for split in splits:
        examples = capability.split(split).examples
        own = [one for one in examples if one.prompt == prompt]
        if own:
            rest = [one for one in examples if one.prompt != prompt]
            return split, [own[0], *rest][: max(most, 1)]
    return None, []


def seeds_of(sampling: Sampling, count: int) -> tuple[int, ...]:
    """Seeds from that of the sampling on; greedy has one, since all would give the same text."""
    return tuple(range(sampling.seed, sampling.seed + (1 if sampling.greedy else max(count, 1))))


def in_question(specs: Sequence[LaneSpec]) -> tuple[int | None, int | None]:
    """The lane that the verdict is about, and its control: the first that projects or mixes the capability's
    subspace, else the second lane; and the same with a random subspace."""
    own = next((at for at, spec in enumerate(specs) if at and _of_capability(spec)), None)
    if own is None:
        return (1 if len(specs) > 1 else None), None
    alike = specs[own].gains, specs[own].adapter
    control = (at for at, spec in enumerate(specs) if spec.of == "random" and (spec.gains, spec.adapter) == alike)
    return own, next(control, None)


def _of_capability(spec: LaneSpec) -> bool:
    return spec.of == "capability" and not spec.complement
