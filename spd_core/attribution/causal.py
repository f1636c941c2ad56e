"""Asks whether a direction matters: log-probabilities with it removed, or with nothing else left, at one site.

Knows nothing of gradients; beside every change stands the same one with many random directions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spd_core.attribution.results import CausalCheck, check_of
from spd_core.attribution.shared_layers import carried_out_once, layers_below
from spd_core.data.spans import Encoded
from spd_core.errors import CaptureError, InputError, Stopped
from spd_core.intervention.projection import Lane, projecting
from spd_core.models.families import Site
from spd_core.models.loading import LanguageModel
from spd_core.models.losses import longest_first, token_losses
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.subspace import Subspace, check_model, random_subspace

DRAWS = 20
"""Random directions: with none of them as strong, chance would do so one time in 21."""


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
        batch_size: texts at once; each batch is scored 3 + 2 × `draws` times from the site's layer on.
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
        scored = _scored(lm, batch, lanes, layers_below(lm, site), stop)
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
    return check_of(logp, done, len(wanted))


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


def _scored(
    lm: LanguageModel, batch: Sequence[Encoded], lanes: Sequence[Lane], below: Sequence[nn.Module], stop: Stop | None
) -> Tensor | None:
    """[lanes, n] log p of a batch in every lane; None when it was stopped.

    Args:
        below: layers that no lane changes: they are carried out once.
    """
    found, given = [], list[Any]()
    for lane in lanes:
        if stop is not None and stop():
            return None
        with lm.lock, carried_out_once(below, given):
            found.append(token_logp(lm, batch, lane))
    return torch.stack(found)


def token_logp(lm: LanguageModel, batch: Sequence[Encoded], lane: Lane) -> Tensor:
    """[n] log p of every supervised token of a batch, example by example."""
    with lm.lock, torch.inference_mode(), projecting(lm, lane):
        nll, _ = token_losses(lm, batch)
    return -nll
