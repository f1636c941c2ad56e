"""From a capability to its analysis: encode, capture, decompose, and compare with nulls and resampled examples."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from spd_core.data.capability import Capability, Loss, Split, Style
from spd_core.data.spans import EncodedSet, encode_all, longest_example
from spd_core.errors import CaptureError
from spd_core.models.families import Site, parse_layers
from spd_core.models.loading import LanguageModel
from spd_core.recipes.distill import CaptureSettings, SubspaceOf
from spd_core.subspace.analysis import RANDOM, SHUFFLED, Analysis, Coordinates, Floats, SiteAnalysis, nulls_of
from spd_core.subspace.capture import Capture, Progress, capture
from spd_core.subspace.gram import ROWS_LIMIT, RowStore, decompose
from spd_core.subspace.nulls import bootstrap, by_example, halves, random_directions, shuffled
from spd_core.subspace.subspace import Subspace, check_model, fit, provenance_of

KEPT_LIMIT = 2**28
"""Default bound of the coordinates that an analysis keeps, in bytes; directions beyond it are left out."""

Stop = Callable[[], bool]
Tell = Callable[[Progress], None]
Doing = Callable[[float, str], None]


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """What is captured, and how.

    Attributes:
        examples: how many of the calibration split, from its first; None takes all.
        layers: target layers.
        center: subtract the mean gradient.
    """

    layers: tuple[int, ...]
    loss: Loss = "aligned"
    style: Style = "raw"
    examples: int | None = 50
    batch_size: int = 8
    center: bool = True


def study(
    lm: LanguageModel,
    capability: Capability,
    settings: StudySettings,
    *,
    name: str,
    on_batch: Tell | None = None,
    doing: Doing | None = None,
    stop: Stop | None = None,
    rows_limit: int = ROWS_LIMIT,
    kept_limit: int = KEPT_LIMIT,
) -> Analysis:
    """Capture a capability and work out everything that needs no second pass through the model.

    Args:
        name: of the analysis, in files and links.
        on_batch: told after each batch of the capture.
        doing: told (share, site) while the sites are analysed.
        stop: ends the capture early; what was captured until then is analysed.
        rows_limit, kept_limit: bytes of rows in memory, and of coordinates kept.

    Raises:
        InputError: no example survives, or a setting is senseless.
        CaptureError: a gradient is not finite, or it was stopped before the first batch.
    """
    started = time.monotonic()
    encoded = encoded_examples(lm, capability, settings)
    captured = capture(
        lm, encoded, settings.layers, batch_size=settings.batch_size, activations=True, rows=RowStore(rows_limit),
        on_batch=on_batch, stop=stop,
    )  # fmt: skip
    seconds = time.monotonic() - started
    record = provenance_of(
        captured, lm, center=settings.center, loss=settings.loss, prompt_style=settings.style,
        capability=capability.name, fingerprint=capability.fingerprint,
    ).model_copy(update={"batch_size": settings.batch_size, "seconds": seconds, "seed": 0})  # fmt: skip
    by_id = {example.id: example for example in encoded.examples}
    examples = tuple(by_id[name] for name in captured.losses)  # in the order in which they were captured
    sites = {}
    kept = _kept_directions(captured, kept_limit)
    for at, site in enumerate(captured.grams):
        if doing is not None:
            doing(at / len(captured.grams), site.label)
        sites[site] = _analyse(captured, site, settings.center, record.dtype, kept)
    return Analysis(name, record, capability, sites, examples)


def encoded_examples(
    lm: LanguageModel, capability: Capability, settings: StudySettings, split: Split = "calibration"
) -> EncodedSet:
    """The examples of a split that the settings choose, as tokens.

    Raises:
        InputError: no example survives.
    """
    chosen = capability.split(split).limited(settings.examples)
    longest = longest_example(lm.card.context)
    return encode_all(chosen.examples, chosen.settings, lm.tokenizer, settings.style, settings.loss, longest)


def _kept_directions(captured: Capture, limit: int) -> int:
    width = max(site.d_kv for site in captured.grams)
    a_direction = 2 * 4 * captured.tokens * len(captured.grams)  # gradient and activation, float32, of every token
    return min(width, limit // max(a_direction, 1))


def _analyse(captured: Capture, site: Site, center: bool, dtype: str, kept: int) -> SiteAnalysis:
    try:
        spectrum = decompose(captured.grams[site], center=center, dtype=dtype)
    except CaptureError as error:
        raise CaptureError(f"{site.label}: {error}") from error
    vectors = spectrum.vectors.numpy()  # [d, d] float64
    activation = captured.activations[site].gram.numpy()
    along = np.einsum("di,de,ei->i", vectors, activation, vectors, optimize=True).clip(min=0)  # Σ_t (k_t·uᵢ)²
    found = SiteAnalysis(spectrum.values.numpy(), vectors.astype(np.float32), along / along.sum())
    rows = captured.rows
    if rows is None:
        return found
    gradients = rows.gradients(site)  # [M, d] float32
    grams = by_example(gradients, rows.example)
    null = random_directions(np.linalg.norm(gradients, axis=1), site.d_kv)
    return dataclasses.replace(
        found,
        nulls={RANDOM: decompose(null, center=center).values.numpy()},
        band=bootstrap(grams, center=center),
        halves=halves(grams, center=center, dtype=dtype),
        coordinates=_coordinates(gradients, rows.activations(site), vectors, center, kept) if kept else None,
    )


def _coordinates(
    gradients: NDArray[np.float32], activations: NDArray[np.float32], vectors: Floats, center: bool, kept: int
) -> Coordinates:
    from sklearn.decomposition import PCA

    precise = gradients.astype(np.float64)
    centred = precise - precise.mean(0) if center else precise
    pca = PCA(n_components=min(3, *gradients.shape), svd_solver="full" if len(gradients) < 4 else "covariance_eigh")
    scores = pca.fit_transform(precise)
    return Coordinates(
        gradient=(centred @ vectors[:, :kept]).astype(np.float32),
        activation=(activations.astype(np.float64) @ vectors[:, :kept]).astype(np.float32),
        product=np.einsum("td,td->t", precise, activations.astype(np.float64)).astype(np.float32),
        scores=scores.astype(np.float32),
        explained=pca.explained_variance_ratio_,
        axes=(pca.components_ @ vectors[:, :kept]).astype(np.float32),
    )


def settings_of(analysis: Analysis) -> StudySettings:
    """The settings that an analysis was made with."""
    record = analysis.provenance
    return StudySettings(
        layers=tuple(record.layers),
        loss=cast(Loss, record.loss),
        style=cast(Style, record.prompt_style),
        examples=record.examples_requested,
        batch_size=record.batch_size or 8,
        center=record.center,
    )


def _captured_examples(analysis: Analysis) -> Capability:
    """The examples that contributed, and no others: a capture can have been stopped."""
    ids = {example.id for example in analysis.examples}
    kept = tuple(example for example in analysis.capability.split("calibration").examples if example.id in ids)
    return dataclasses.replace(analysis.capability, examples=kept)


# --- nulls ---------------------------------------------------------------------------------------------------


def with_nulls(
    lm: LanguageModel, analysis: Analysis, *, on_batch: Tell | None = None, stop: Stop | None = None
) -> Analysis:
    """The analysis with the spectra of its model-made nulls, on the same examples, layers and settings.

    Raises:
        ModelError: the analysis is of another model.
        InputError: too few examples to shuffle.
        CaptureError: stopped before a null was complete: half of one would have the wrong size.
    """
    check_model(analysis.provenance, analysis.sites, lm)
    nulls: dict[Site, dict[str, Floats]] = {site: dict(found.nulls) for site, found in analysis.sites.items()}
    own = settings_of(analysis)
    calibration = _captured_examples(analysis)
    for null in nulls_of(analysis):
        capability = shuffled(calibration) if null == SHUFFLED else calibration
        settings = own if null == SHUFFLED else dataclasses.replace(own, loss="full")
        encoded = encoded_examples(lm, capability, settings)
        captured = capture(
            lm, encoded, settings.layers, batch_size=settings.batch_size, on_batch=on_batch, stop=stop
        )  # fmt: skip
        if stop is not None and stop():
            raise CaptureError(f"stopped in the middle of the null {null!r}; what was there before is unchanged")
        for site, gram in captured.grams.items():
            nulls[site][null] = decompose(gram, center=own.center).values.numpy()
    sites = {site: dataclasses.replace(found, nulls=nulls[site]) for site, found in analysis.sites.items()}
    return dataclasses.replace(analysis, sites=sites)


# --- subspaces that arms and subjects project into -----------------------------------------------------------------


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
