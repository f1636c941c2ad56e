"""Makes a lane of its description: the one place where words become a subspace, its controls, and an adapter."""

from collections.abc import Callable

from spd_core.intervention.adapters import Adapter
from spd_core.intervention.projection import Lane
from spd_core.recipes.lanes import LaneSpec
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.subspace import Subspace, random_subspace, subspace_of


def make_lane(
    spec: LaneSpec,
    name: str,
    subspace: Callable[[LaneSpec], Subspace],
    adapter: Callable[[str], Adapter],
) -> Lane:
    """The lane that a description means.

    Args:
        name: for people and files.
        subspace: finds what the spec names, at its rank; of a random one, what it is drawn like. Asked only where
            something is projected.
        adapter: finds an adapter by its `run/arm`; asked only where one is named.

    Raises:
        SpdError: whatever they raise.
    """
    found = subspace(spec) if spec.projects else None
    if found is not None and spec.of == "random":
        found = random_subspace(found, spec.seed)
    tuned = adapter(spec.adapter) if spec.adapter else None
    return Lane(found, spec.strength, spec.kinds, spec.layers, spec.complement, name, tuned, spec.gains)


def subspace_for(spec: LaneSpec, analysis: Analysis) -> Subspace:
    """The subspace of a capture that a lane needs: gains are of directions of whole sites, as all pages count them.

    Raises:
        InputError: the rank rule cannot be met at a site (named).
    """
    return subspace_of(analysis, spec.rank, per_head=False if spec.gains else None)
