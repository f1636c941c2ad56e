"""Asks whether a direction matters: log-probabilities with it removed, or with nothing else left, at one site.

Knows nothing of gradients; beside every change stands the same one with many random directions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spd_core.data.spans import Encoded
from spd_core.errors import CaptureError, InputError, Stopped
from spd_core.intervention.projection import Lane, projecting
from spd_core.models.families import Site
from spd_core.models.loading import LanguageModel
from spd_core.models.losses import longest_first, token_losses
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import Floats
from spd_core.subspace.subspace import Subspace, check_model, random_subspace

if TYPE_CHECKING:
    import pandas as pd

UNCHANGED, REMOVED, ONLY = "unchanged", "removed", "only it"
RANDOM_REMOVED, ONLY_RANDOM = "random removed", "only random"
CONTROLS = {REMOVED: RANDOM_REMOVED, ONLY: ONLY_RANDOM}
"""The same with random directions, by change."""
INTERVAL_SAMPLES = 1000
DRAWS = 20
"""Random directions: with none of them as strong, chance would do so one time in 21."""


@dataclass(frozen=True, eq=False)
class CausalCheck:
    """log p of every supervised token under each change of one site.

    Attributes:
        examples: the examples that were scored; fewer than asked for when it was stopped.
        example: [n] index into `examples` of every supervised token.
        position: [n] its position.
        logp: [n] log-probability in nats, by the name of the change; with a random direction the mean of all draws.
        requested: examples that were to be scored.
        draws: [draws, n] log-probability with each random direction, by the name of the change.
    """

    examples: tuple[Encoded, ...]
    example: NDArray[np.int64]
    position: NDArray[np.int64]
    logp: Mapping[str, Floats]
    requested: int
    draws: Mapping[str, Floats] = field(default_factory=dict)

    def random_means(self, name: str) -> Floats:
        """[draws] mean change over the supervised tokens with each random direction, in nats."""
        means: Floats = (self.draws[name] - self.logp[UNCHANGED]).mean(1)
        return means

    def table(self) -> "pd.DataFrame":
        """A row for each supervised token: `example_id`, `position`, `id`, `text`, log p, and its change by change."""
        import pandas as pd

        where = [(self.examples[e], t) for e, t in zip(self.example, self.position, strict=True)]
        columns = {
            "example_id": [example.id for example, _ in where],
            "position": self.position,
            "id": [example.ids[t] for example, t in where],
            "text": [example.text[slice(*example.offsets[t])] for example, t in where],
            UNCHANGED: self.logp[UNCHANGED],
        }
        return pd.DataFrame(columns | {change: self.change(change) for change in self.logp if change != UNCHANGED})

    def change(self, name: str) -> Floats:
        """[n] log p under a change less log p without, in nats."""
        difference: Floats = self.logp[name] - self.logp[UNCHANGED]
        return difference

    def mean(self, name: str, seed: int = 0) -> tuple[float, float, float]:
        """Mean change over the supervised tokens, and its 95 % bootstrap interval.

        Examples are drawn again and not tokens, which are not independent in one example (Efron, 1979). With one
        example the interval is NaN.
        """
        count = len(self.examples)
        change = self.change(name)
        mean = float(change.mean())
        if count < 2:
            return mean, float("nan"), float("nan")
        from scipy.stats import bootstrap

        total = np.bincount(self.example, change, count)
        tokens = np.bincount(self.example, minlength=count).astype(np.float64)
        ends = bootstrap(
            (total, tokens),
            _ratio,
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=INTERVAL_SAMPLES,
            rng=np.random.default_rng(seed),
        ).confidence_interval
        return mean, float(ends.low), float(ends.high)


def _ratio(total: Floats, tokens: Floats, axis: int) -> Floats:
    """Mean over the tokens of the examples that were drawn."""
    mean: Floats = total.sum(axis) / tokens.sum(axis)
    return mean


def causal_check(
    lm: LanguageModel,
    analysis: Analysis,
    site: Site,
    direction: int,
    examples: Sequence[Encoded] | None = None,
    *,
    batch_size: int = 4,
    seed: int = 0,
    draws: int = DRAWS,
    tell: Tell = silent,
    stop: Stop | None = None,
) -> CausalCheck:
    """log p of every supervised token, with direction uᵢ of one site removed (A = I − u uᵀ) and with only it kept
    (A = u uᵀ), beside the same two changes with random directions of that site.

    Args:
        direction: 0-based.
        batch_size: texts at once; each batch is scored 3 + 2 × `draws` times.
        examples: what is scored; the analysis' own examples when None.
        seed: of the first random direction; the next ones count on.
        draws: how many random directions.
        tell: told how many texts were scored.
        stop: asked before each pass; the batches that were scored until then are returned.

    Raises:
        ModelError: the analysis is of another model.
        InputError: there is no such direction, or no random one is asked for.
        CaptureError: a log-probability is not finite.
        Stopped: before the first batch was scored.
    """
    check_model(analysis.provenance, analysis.sites, lm)
    lanes = _lanes(analysis, site, direction, seed, draws)
    wanted = analysis.examples if examples is None else tuple(examples)
    done: list[Encoded] = []
    found: list[Tensor] = []  # [lanes, n] of each batch
    for batch in longest_first(wanted, batch_size):
        scored = _scored(lm, batch, lanes, stop)
        if scored is None:
            break
        found.append(scored)
        done += batch
        tell(Progress(len(done), len(wanted), f"{len(done)} of {len(wanted)} texts"))
    if not done:
        raise Stopped("stopped before the first batch; nothing was scored")
    logp = torch.cat(found, 1).double().cpu().numpy()
    if not np.isfinite(logp).all():
        raise CaptureError(f"a log-probability is not finite in {lm.dtype}; load the model in float32")
    example = np.repeat(np.arange(len(done)), [len(e.supervised) for e in done])
    position = np.concatenate([e.supervised for e in done]).astype(np.int64)
    drawn = {RANDOM_REMOVED: logp[3::2], ONLY_RANDOM: logp[4::2]}
    own = dict(zip((UNCHANGED, REMOVED, ONLY), logp, strict=False))
    means = {name: values.mean(0) for name, values in drawn.items()}
    return CausalCheck(tuple(done), example, position, own | means, len(wanted), drawn)


def _lanes(analysis: Analysis, site: Site, direction: int, seed: int, draws: int) -> list[Lane]:
    """No change, the direction removed, only it; then each random one removed, and only it."""
    found = analysis.sites[site]
    if not 0 <= direction < site.d_kv:
        raise InputError(f"{site.label} has no direction {direction + 1}; choose 1 to {site.d_kv}")
    if draws < 1:
        raise InputError(f"{draws} random directions are no control; choose 1 or more")
    basis = torch.from_numpy(found.vectors[:, direction : direction + 1].astype(np.float32))  # [d_kv, 1]
    own = Subspace({site: basis}, {site: torch.from_numpy(found.values)}, analysis.provenance)
    each = [own, *(random_subspace(own, seed + at) for at in range(draws))]
    return [Lane(), *(lane for one in each for lane in (Lane(one, complement=True), Lane(one)))]


def _scored(lm: LanguageModel, batch: Sequence[Encoded], lanes: Sequence[Lane], stop: Stop | None) -> Tensor | None:
    """[lanes, n] log p of a batch in every lane; None when it was stopped."""
    found = []
    for lane in lanes:
        if stop is not None and stop():
            return None
        found.append(token_logp(lm, batch, lane))
    return torch.stack(found)


def token_logp(lm: LanguageModel, batch: Sequence[Encoded], lane: Lane) -> Tensor:
    """[n] log p of every supervised token of a batch, example by example."""
    with lm.lock, torch.inference_mode(), projecting(lm, lane):
        nll, _ = token_losses(lm, batch)
    return -nll


# --- in words --------------------------------------------------------------------------------------------------

_CHANCE = 0.05


def causal_verdict(check: CausalCheck, title: str) -> str:
    """Whether removing a direction does more to the loss tokens than removing random ones does.

    The rank of its mean change among those of the random directions gives p = (as strong + 1) / (draws + 1), the
    p-value of a Monte Carlo test (Davison and Hinkley, 1997, section 4.2).
    """
    mean, low, high = check.mean(REMOVED)
    if np.isnan(low):
        return "One text tells nothing of the spread: score more texts."
    size = f"{abs(mean):.3g} nats a loss token (95 %: {low:+.3g} to {high:+.3g})"
    if low <= 0 <= high:
        return f"Not shown to matter: removing {title} changes log p by {size}, an interval that holds 0."
    drawn = check.random_means(RANDOM_REMOVED)
    as_strong = int((np.abs(drawn) >= abs(mean)).sum())
    chance = (as_strong + 1) / (len(drawn) + 1)
    did = f"Removing {title} {'lowers' if mean < 0 else 'raises'} log p by {size}"
    if chance <= _CHANCE:
        return f"{did}, more than any of {len(drawn)} random directions. It matters by itself here (p = {chance:.2g})."
    if not as_strong:
        return f"{did}, more than any of {len(drawn)} random directions, too few to rule out chance (p = {chance:.2g})."
    return f"{did}, and {as_strong} of {len(drawn)} random directions change it as much. So this is no sign of it."
