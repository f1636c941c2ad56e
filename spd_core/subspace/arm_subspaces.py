"""The subspaces that arms and subjects project into: the capability's own, and those of its controls."""

import hashlib
from collections.abc import Callable

from spd_core.data.capability import Capability, Style
from spd_core.errors import CaptureError
from spd_core.models.families import parse_layers
from spd_core.models.loading import LanguageModel
from spd_core.recipes.distill import CaptureSettings, SubspaceOf
from spd_core.subspace.capture import Progress, capture
from spd_core.subspace.nulls import shuffled
from spd_core.subspace.pipeline import StudySettings, encoded_examples
from spd_core.subspace.subspace import Subspace, fit


def captured_subspace(
    lm: LanguageModel,
    calibration: Capability,
    kind: SubspaceOf,
    wanted: CaptureSettings,
    style: Style,
    seed: int,
    *,
    on_batch: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Subspace | None:
    """The subspace of one kind of gradients: of the aligned loss, of the full loss, or of shuffled answers.

    Args:
        calibration: the examples to capture from.
        seed: of the shuffling.

    Returns:
        None when it was stopped: half of a capture would be another subspace.

    Raises:
        SpdError: as `capture.capture` and `subspace.fit`.
    """
    layers = parse_layers(wanted.layers, lm.card.layers)
    loss = "full" if kind == "full loss" else wanted.loss
    capability = shuffled(calibration, seed) if kind == "shuffled answers" else calibration
    settings = StudySettings(layers, loss, style, None, wanted.batch_size, wanted.center)
    try:
        captured = capture(
            lm, encoded_examples(lm, capability, settings), layers, batch_size=wanted.batch_size, stop=stop,
            on_batch=on_batch,
        )  # fmt: skip
    except CaptureError:
        if stop is not None and stop():  # before its first batch
            return None
        raise
    if captured.used + len(captured.skipped) < captured.requested:
        return None
    return fit(
        captured, lm, rank=wanted.rank, center=wanted.center, cap=True, loss=loss, prompt_style=style,
        capability=capability.name, fingerprint=capability.fingerprint,
    )  # fmt: skip


def subspace_fingerprint(subspace: Subspace | None) -> str:
    """sha256 of a subspace's sites and bases; empty for none."""
    if subspace is None:
        return ""
    digest = hashlib.sha256()
    for site in subspace.sites:
        digest.update(site.name.encode() + subspace.basis[site].numpy().tobytes())
    return digest.hexdigest()
