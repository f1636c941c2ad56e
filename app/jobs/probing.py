"""What pages ask of a model, on background threads: read a text, logit lenses, a causal check, the effect of sites,
which texts are right.

Imports torch only where it computes, so that pages can name requests and results at once.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from app.jobs.job import Job
from app.jobs.models import ModelKey, ModelStore
from app.jobs.requests import CheckRequest, EffectsRequest, LensRequest, ReadRequest, RightRequest
from spd_core.data.capability import Split, Style
from spd_core.subspace.analysis import Analysis

if TYPE_CHECKING:
    from spd_core.attribution.lens import ReadText
    from spd_core.attribution.results import CausalCheck, Lens
    from spd_core.attribution.site_effects import SiteEffects
    from spd_core.data.spans import Encoded
    from spd_core.models.loading import LanguageModel

Request = TypeVar("Request")
Found = TypeVar("Found")
SEED = 0
"""Of the random directions beside the lens and the causal check."""
_LENSES_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Probed(Generic[Request, Found]):
    """What was asked, what was found, and the seconds that it took, loading left out."""

    request: Request
    found: Found
    seconds: float


def read_own_text(
    job: "Job[Probed[ReadRequest, ReadText], None]", request: ReadRequest, key: ModelKey, store: ModelStore
) -> "Probed[ReadRequest, ReadText]":
    """Keys and values of every token of a text, at the sites of the analysis.

    Raises:
        SpdError: the model cannot be loaded, or the text is empty or too long.
    """
    from spd_core.attribution.lens import read_text

    lm = _model(job, request.analysis, key, store)
    job.progress(0.5, "Reading the text")
    started = time.monotonic()
    text = read_text(lm, request.text, list(request.analysis.sites))
    return Probed(request, text, time.monotonic() - started)


def lenses(
    job: "Job[Probed[LensRequest, Mapping[int, Lens]], Probed[LensRequest, Mapping[int, Lens]]]",
    request: LensRequest,
    key: ModelKey,
    store: ModelStore,
) -> "Probed[LensRequest, Mapping[int, Lens]]":
    """The logit lens of every direction of a site, by direction; those that were done when it was stopped.

    Raises:
        SpdError: the model cannot be loaded, or the site is a key site.
    """
    from spd_core.attribution.lens import logit_lenses, random_strengths

    lm = _model(job, request.analysis, key, store)
    vectors, started = request.analysis.sites[request.site].vectors, time.monotonic()
    lenses_done: dict[int, Lens] = {}
    random = random_strengths(lm, request.site, seed=SEED)
    order = list(dict.fromkeys((request.first, *range(vectors.shape[1]))))
    for start in range(0, len(order), _LENSES_AT_ONCE):
        if lenses_done and job.stopping():
            break
        chosen = order[start : start + _LENSES_AT_ONCE]
        lenses_done |= zip(chosen, logit_lenses(lm, request.site, vectors[:, chosen].T, random=random), strict=True)
        job.news = Probed(request, dict(lenses_done), time.monotonic() - started)
        job.progress(len(lenses_done) / vectors.shape[1], f"Direction {len(lenses_done)} of {vectors.shape[1]}")
    return Probed(request, lenses_done, time.monotonic() - started)


def check(
    job: "Job[Probed[CheckRequest, CausalCheck], None]", request: CheckRequest, key: ModelKey, store: ModelStore
) -> "Probed[CheckRequest, CausalCheck]":
    """Log-probabilities with the direction removed, and with only it kept, beside a random one.

    Raises:
        SpdError: the model cannot be loaded, no text survives, or it was stopped before its first batch.
    """
    from spd_core.attribution.causal import causal_check

    lm = _model(job, request.analysis, key, store)
    job.progress(0.0, "Scoring")
    examples, started = _examples(lm, request), time.monotonic()
    result = causal_check(
        lm,
        request.analysis,
        request.site,
        request.direction,
        examples,
        seed=SEED,
        stop=job.stopping,
        tell=job.tell,
    )
    return Probed(request, result, time.monotonic() - started)


def effects(
    job: "Job[Probed[EffectsRequest, SiteEffects], None]", request: EffectsRequest, key: ModelKey, store: ModelStore
) -> "Probed[EffectsRequest, SiteEffects]":
    """What projecting each site alone does to the loss tokens, beside a random subspace.

    Raises:
        SpdError: the model cannot be loaded, the capture kept no texts, or it was stopped before its first site.
    """
    from spd_core.attribution.site_effects import site_effects

    lm = _model(job, request.analysis, key, store)
    started = time.monotonic()
    found = site_effects(lm, request.analysis, request.rank, seed=SEED, stop=job.stopping, tell=job.tell)
    return Probed(request, found, time.monotonic() - started)


def right(
    job: "Job[Probed[RightRequest, Mapping[str, float]], None]", request: RightRequest, key: ModelKey, store: ModelStore
) -> "Probed[RightRequest, Mapping[str, float]]":
    """Share of the loss tokens that the model gets right, by the text's id; those that were read when it was stopped.

    Raises:
        SpdError: the model cannot be loaded, or it was stopped before its first batch.
    """
    from spd_core.attribution.right_texts import right_texts

    lm = _model(job, request.analysis, key, store)
    started = time.monotonic()
    found = right_texts(lm, request.analysis.examples, stop=job.stopping, tell=job.tell)
    return Probed(request, found, time.monotonic() - started)


def _model(job: "Job[Any, Any]", analysis: Analysis, key: ModelKey, store: ModelStore) -> "LanguageModel":
    from spd_core.subspace.subspace import check_model

    lm = store.get(key, job.tell)
    check_model(analysis.provenance, analysis.sites, lm)
    return lm


def _examples(lm: "LanguageModel", request: CheckRequest) -> "Sequence[Encoded]":
    """The texts of the check as tokens: as many held-out ones as calibration texts were captured, at most."""
    from spd_core.subspace.pipeline import encoded_examples

    analysis = request.analysis
    if request.split == "calibration" and analysis.examples:
        return analysis.examples
    count = len(analysis.examples) or analysis.provenance.examples_used  # an older version may have kept no text
    settings = analysis.settings.model_copy(update={"examples": count})
    style, split = cast("Style", analysis.provenance.prompt_style), cast("Split", request.split)
    return encoded_examples(lm, analysis.capability, settings, style, split).examples
