"""What the logit lens and the causal check find, as frozen numbers. Imports no torch: recorded ones open at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spd_core.data.spans import Encoded
from spd_core.subspace.spectrum import Floats

if TYPE_CHECKING:
    import pandas as pd

UNCHANGED, REMOVED, ONLY = "unchanged", "removed", "only it"
RANDOM_REMOVED, ONLY_RANDOM = "random removed", "only random"
CONTROLS = {REMOVED: RANDOM_REMOVED, ONLY: ONLY_RANDOM}
"""The same with random directions, by change."""
INTERVAL_SAMPLES = 1000


# --- logit lens ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LensToken:
    """A token of the vocabulary and its score in a logit lens, in logits."""

    id: int
    text: str
    score: float


@dataclass(frozen=True)
class Lens:
    """What a value direction writes towards the output, approximately.

    Attributes:
        promoted: tokens with the highest scores, the highest first.
        suppressed: tokens with the lowest scores, the lowest first.
        random: the largest |score| of each of many random directions of the site; empty where none was asked.
    """

    promoted: tuple[LensToken, ...]
    suppressed: tuple[LensToken, ...]
    random: tuple[float, ...] = ()

    @property
    def strongest(self) -> LensToken:
        """The token with the largest |score|, promoted or suppressed."""
        return max(self.promoted[0], self.suppressed[0], key=lambda token: abs(token.score))

    @property
    def largest(self) -> float:
        """Its |score|."""
        return abs(self.strongest.score)


# --- causal check --------------------------------------------------------------------------------------------


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

    def band(self, name: str) -> tuple[float, float]:
        """What a change does with random directions, in nats: their mean, and as far on either side as the farthest.

        By chance alone the mean of the own direction lies outside one time in draws + 1.
        """
        means = self.random_means(CONTROLS[name])
        middle = float(means.mean())
        reach = float(np.abs(means - middle).max())
        return middle - reach, middle + reach

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
        """Mean change over the supervised tokens, and its 95% bootstrap interval.

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


def check_of(logp: Floats, examples: Sequence[Encoded], requested: int) -> CausalCheck:
    """The check whose passes gave `logp` `[3 + 2 · draws, n]`, over the supervised tokens of `examples` in their order.

    Its rows: no change, the direction removed, only it; then each random one removed, and only it.
    """
    example = np.repeat(np.arange(len(examples)), [len(e.supervised) for e in examples])
    position = np.concatenate([e.supervised for e in examples]).astype(np.int64)
    drawn = {RANDOM_REMOVED: logp[3::2], ONLY_RANDOM: logp[4::2]}
    own = dict(zip((UNCHANGED, REMOVED, ONLY), logp, strict=False))
    means = {name: values.mean(0) for name, values in drawn.items()}
    return CausalCheck(tuple(examples), example, position, own | means, requested, drawn)
