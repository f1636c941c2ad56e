"""From a capability to its analysis: encode, capture, decompose, and compare with nulls and resampled examples."""

import dataclasses
import time
from collections.abc import Collection
from typing import cast

import numpy as np
from numpy.typing import NDArray

from spd_core.data.capability import Capability, Split, Style
from spd_core.data.catalog import find_capability
from spd_core.data.spans import EncodedSet, encode_all, longest_example
from spd_core.errors import CaptureError, Stopped
from spd_core.models.families import Site, parse_layers
from spd_core.models.loading import LanguageModel
from spd_core.peers import ALONE, Peers
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.distill import SubspaceOf
from spd_core.subspace.analysis import RANDOM, SHUFFLED, Analysis, nulls_of
from spd_core.subspace.capture import Captured, capture_gradients
from spd_core.subspace.contrast import contrast
from spd_core.subspace.gram import ROWS_LIMIT, RowStore, decompose
from spd_core.subspace.nulls import bootstrap, by_example, halves, random_directions, shuffled
from spd_core.subspace.site_analysis import Coordinates, HeadSpectra, SiteAnalysis
from spd_core.subspace.spectrum import Floats
from spd_core.subspace.subspace import check_model, provenance_of

KEPT_LIMIT = 2**28
"""Default bound of the coordinates that a capture keeps, in bytes; directions beyond it are left out."""


def capture(
    lm: LanguageModel,
    capability: Capability,
    settings: CaptureSettings,
    style: Style = "raw",
    *,
    name: str = "capture",
    tell: Tell = silent,
    stop: Stop | None = None,
    stop_spectra: Stop | None = None,
    peers: Peers = ALONE,
    rows_limit: int = ROWS_LIMIT,
    kept_limit: int = KEPT_LIMIT,
) -> Analysis:
    """Capture a capability and work out everything that needs no second pass through the model.

    Args:
        style: how prompts are put.
        name: of the capture, in files and links.
        tell: told after each batch of the capture, then site by site.
        stop: ends the capture early; what was captured until then is analysed.
        stop_spectra: asked before each layer after the first; ends the analysis early: layers that are finished are
            kept, and the others left out.
        peers: share the examples, then the sites; all return the same.
        rows_limit, kept_limit: bytes of rows in memory, and of coordinates kept. Without rows there is no band, no
            halves, no random null, and nothing is known of single tokens.

    Raises:
        InputError: no example survives, or a setting is senseless.
        CaptureError: a gradient is not finite.
        Stopped: before the first batch.
    """
    started = time.monotonic()
    encoded = encoded_examples(lm, capability, settings, style)
    captured = capture_gradients(
        lm,
        encoded,
        parse_layers(settings.layers, lm.card.layers),
        batch_size=settings.batch_size,
        activations=True,
        rows=RowStore(rows_limit) if rows_limit else None,
        tell=tell,
        stop=stop,
        peers=peers,
    )
    seconds = time.monotonic() - started
    record = provenance_of(
        captured,
        lm,
        center=settings.center,
        loss=settings.loss,
        prompt_style=style,
        capability=capability.name,
        fingerprint=capability.fingerprint,
    ).model_copy(update={"batch_size": settings.batch_size, "seconds": seconds, "seed": 0})
    by_id = {example.id: example for example in encoded.examples}
    examples = tuple(by_id[name] for name in captured.losses)  # in the order in which they were captured
    kept = _kept_directions(captured, kept_limit)

    mine = peers.mine(list(captured.grams))

    def analysed() -> dict[Site, SiteAnalysis]:
        found: dict[Site, SiteAnalysis] = {}
        for at, site in enumerate(mine):
            begun = {done.layer for done in found}
            if begun and site.layer not in begun and stop_spectra is not None and stop_spectra():
                break
            tell(Progress(at, len(mine), f"Computing the spectrum of {site.label}"))
            found[site] = _analyse(captured, site, settings.center, record.dtype, kept)
        return found

    by_site = {site: found for share in peers.all_done(analysed) for site, found in share.items()}
    layers = _whole_layers(captured, by_site)
    sites = {site: by_site[site] for site in captured.grams if site.layer in layers}
    return Analysis(name, record.model_copy(update={"layers": layers}), capability, sites, examples)


def _whole_layers(captured: Captured, found: Collection[Site]) -> list[int]:
    """Layers of which every site was analysed, ascending; of a stopped analysis with peers there may be none.

    Raises:
        Stopped: there is none.
    """
    left_out = {site.layer for site in captured.grams if site not in found}
    layers = sorted({site.layer for site in captured.grams} - left_out)
    if not layers:
        raise Stopped("stopped before the spectra of a first layer; capture again, or wait for it")
    return layers


def capture_source(
    lm: LanguageModel,
    capability: Capability,
    source: SubspaceOf,
    settings: CaptureSettings,
    style: Style,
    seed: int,
    *,
    name: str = "capture",
    tell: Tell = silent,
    stop: Stop | None = None,
    peers: Peers = ALONE,
    own: Analysis | None = None,
) -> Analysis:
    """The capture that an arm or a subject projects into: of the aligned loss, the full loss, shuffled answers, or what
    is the capability's alone (`settings.without`).

    It keeps no rows: what it is for needs directions alone.

    Args:
        capability: its calibration examples are captured.
        seed: of the shuffling.
        own: the capability's own capture on this model and with these settings, where a contrast finds it made.

    Raises:
        SpdError: as `capture`.
        Stopped: before the last example: half of a capture would be another subspace.
    """
    if source == "contrast":
        others = (find_capability(other).limited(settings.examples) for other in settings.without)
        wanted = (*([] if own is not None else [capability]), *others)
        captures = [
            capture_source(
                lm, one, "capability", settings, style, seed, name=one.name, tell=tell, stop=stop, peers=peers
            )
            for one in wanted
        ]
        first = captures.pop(0) if own is None else own
        return contrast(first, captures, name=name)
    if source == "shuffled answers":
        capability = shuffled(capability, seed)
    if source == "full loss":
        settings = settings.model_copy(update={"loss": "full"})
    found = capture(lm, capability, settings, style, name=name, tell=tell, stop=stop, peers=peers, rows_limit=0)
    record = found.provenance
    if record.examples_used + len(record.skipped) < record.examples_requested:
        raise Stopped(f"the capture was stopped after {record.examples_used} examples; nothing of it is kept")
    return found


def encoded_examples(
    lm: LanguageModel,
    capability: Capability,
    settings: CaptureSettings,
    style: Style = "raw",
    split: Split = "calibration",
) -> EncodedSet:
    """The examples of a split that the settings choose, as tokens.

    Raises:
        InputError: no example survives.
    """
    chosen = capability.split(split).limited(settings.examples)
    longest = longest_example(lm.card.context)
    return encode_all(chosen.examples, chosen.settings, lm.tokenizer, style, settings.loss, longest)


def _kept_directions(captured: Captured, limit: int) -> int:
    width = max(site.d_kv for site in captured.grams)
    a_direction = 2 * 4 * captured.tokens * len(captured.grams)  # gradient and activation, float32, of every token
    return min(width, limit // max(a_direction, 1))


def _analyse(captured: Captured, site: Site, center: bool, dtype: str, kept: int) -> SiteAnalysis:
    try:
        spectrum = decompose(captured.grams[site], center=center, dtype=dtype)
    except CaptureError as error:
        raise CaptureError(f"{site.label}: {error}") from error
    vectors = spectrum.vectors.numpy()  # [d, d] float64
    activation = captured.activations[site].gram.numpy()
    along = np.einsum("di,de,ei->i", vectors, activation, vectors, optimize=True).clip(min=0)  # Σ_t (k_t·uᵢ)²
    heads = decompose(captured.grams[site], center=center, heads=site.heads, dtype=dtype)
    found = SiteAnalysis(
        spectrum.values.numpy(),
        vectors.astype(np.float32),
        along / along.sum(),
        heads=HeadSpectra.of_blocks(heads.values.numpy(), heads.vectors.numpy(), site.heads),
    )
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
    outputs = activations.astype(np.float64)
    return Coordinates(
        gradient=(centred @ vectors[:, :kept]).astype(np.float32),
        activation=(outputs @ vectors[:, :kept]).astype(np.float32),
        product=np.einsum("td,td->t", precise, outputs).astype(np.float32),
        scores=scores.astype(np.float32),
        explained=pca.explained_variance_ratio_,
        axes=(pca.components_ @ vectors[:, :kept]).astype(np.float32),
        lengths=np.stack([np.linalg.norm(rows, axis=1) for rows in (centred, outputs)]).astype(np.float32),
    )


def _captured_examples(analysis: Analysis) -> Capability:
    """The examples that contributed, and no others: a capture can have been stopped."""
    ids = {example.id for example in analysis.examples}
    kept = tuple(example for example in analysis.capability.split("calibration").examples if example.id in ids)
    return dataclasses.replace(analysis.capability, examples=kept)


# --- nulls ---------------------------------------------------------------------------------------------------


def with_nulls(
    lm: LanguageModel,
    analysis: Analysis,
    *,
    tell: Tell = silent,
    stop: Stop | None = None,
    peers: Peers = ALONE,
) -> Analysis:
    """The analysis with the spectra of its model-made nulls, on the same examples, layers and settings.

    Raises:
        ModelError: the analysis is of another model.
        InputError: too few examples to shuffle.
        Stopped: before a null was complete: half of one would have the wrong size.
    """
    check_model(analysis.provenance, analysis.sites, lm)
    nulls: dict[Site, dict[str, Floats]] = {site: dict(found.nulls) for site, found in analysis.sites.items()}
    own, style = analysis.settings, cast(Style, analysis.provenance.prompt_style)
    layers = parse_layers(own.layers, lm.card.layers)
    calibration = _captured_examples(analysis)
    for null in nulls_of(analysis):
        capability = shuffled(calibration) if null == SHUFFLED else calibration
        settings = own if null == SHUFFLED else own.model_copy(update={"loss": "full"})
        encoded = encoded_examples(lm, capability, settings, style)
        captured = capture_gradients(
            lm, encoded, layers, batch_size=settings.batch_size, tell=tell, stop=stop, peers=peers
        )
        if peers.agreed(stop):
            raise Stopped(f"stopped in the middle of the null {null!r}; what was there before is unchanged")
        for site, gram in captured.grams.items():
            nulls[site][null] = decompose(gram, center=own.center).values.numpy()
    sites = {site: dataclasses.replace(found, nulls=nulls[site]) for site, found in analysis.sites.items()}
    return dataclasses.replace(analysis, sites=sites)
