"""Asks whether a direction matters: log-probabilities with it removed, or with nothing else left, at one site.

Knows nothing of gradients; beside every change stands the same one with a random direction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
INTERVAL_SAMPLES = 1000


@dataclass(frozen=True, eq=False)
class CausalCheck:
    """log p of every supervised token under each change of one site.

    Attributes:
        examples: the examples that were scored; fewer than asked for when it was stopped.
        example: [n] index into `examples` of every supervised token.
        position: [n] its position.
        logp: [n] log-probability in nats, by the name of the change.
        requested: examples that were to be scored.
    """

    examples: tuple[Encoded, ...]
    example: NDArray[np.int64]
    position: NDArray[np.int64]
    logp: Mapping[str, Floats]
    requested: int

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
    tell: Tell = silent,
    stop: Stop | None = None,
) -> CausalCheck:
    """log p of every supervised token, with direction uᵢ of one site removed (A = I − u uᵀ) and with only it kept
    (A = u uᵀ), beside the same two changes with a random direction of that site.

    Args:
        direction: 0-based.
        batch_size: texts at once; each batch is scored five times between two looks at `stop`.
        examples: what is scored; the analysis' own examples when None.
        seed: of the random direction.
        tell: told how many texts were scored.
        stop: asked before each batch; what was scored until then is returned.

    Raises:
        ModelError: the analysis is of another model.
        InputError: there is no such direction.
        CaptureError: a log-probability is not finite.
        Stopped: before the first batch.
    """
    check_model(analysis.provenance, analysis.sites, lm)
    lanes = _lanes(analysis, site, direction, seed)
    wanted = analysis.examples if examples is None else tuple(examples)
    done: list[Encoded] = []
    found: list[Tensor] = []  # [changes, n] of each batch
    for batch in longest_first(wanted, batch_size):
        if stop is not None and stop():
            break
        found.append(torch.stack([_token_logp(lm, batch, lane) for lane in lanes.values()]))
        done += batch
        tell(Progress(len(done), len(wanted), f"{len(done)} of {len(wanted)} texts"))
    if not done:
        raise Stopped("stopped before the first batch; nothing was scored")
    logp = torch.cat(found, 1).double().cpu().numpy()
    if not np.isfinite(logp).all():
        raise CaptureError(f"a log-probability is not finite in {lm.dtype}; load the model in float32")
    example = np.repeat(np.arange(len(done)), [len(e.supervised) for e in done])
    position = np.concatenate([e.supervised for e in done]).astype(np.int64)
    return CausalCheck(tuple(done), example, position, dict(zip(lanes, logp, strict=True)), len(wanted))


def _lanes(analysis: Analysis, site: Site, direction: int, seed: int) -> dict[str, Lane]:
    """Every change by name; no change first."""
    found = analysis.sites[site]
    if not 0 <= direction < site.d_kv:
        raise InputError(f"{site.label} has no direction {direction + 1}; choose 1 to {site.d_kv}")
    basis = torch.from_numpy(found.vectors[:, direction : direction + 1].astype(np.float32))  # [d_kv, 1]
    own = Subspace({site: basis}, {site: torch.from_numpy(found.values)}, analysis.provenance)
    other = random_subspace(own, seed)
    return {
        UNCHANGED: Lane(),
        REMOVED: Lane(own, complement=True),
        ONLY: Lane(own),
        RANDOM_REMOVED: Lane(other, complement=True),
        ONLY_RANDOM: Lane(other),
    }


def _token_logp(lm: LanguageModel, batch: Sequence[Encoded], lane: Lane) -> Tensor:
    """[n] log p of every supervised token of a batch, example by example."""
    with lm.lock, torch.inference_mode(), projecting(lm, lane):
        nll, _ = token_losses(lm, batch)
    return -nll
