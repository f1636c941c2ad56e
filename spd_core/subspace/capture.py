"""Runs backward: streams key and value gradients of the correctness-aligned loss into Gram matrices.

Knows nothing of bases or ranks; `subspace/subspace.py` reads what is accumulated here.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spd_core.data.spans import Encoded, EncodedSet
from spd_core.errors import CaptureError, InputError, Stopped
from spd_core.models.families import Site
from spd_core.models.loading import LanguageModel
from spd_core.models.losses import batch_losses, longest_first
from spd_core.peers import ALONE, Peers
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.subspace.gram import GradientGram, RowStore


@dataclass(frozen=True)
class Captured:
    """What a capture accumulated, and on what.

    Attributes:
        grams: one accumulator a site.
        activations: the same for the keys or values themselves, at the same tokens; when they were asked for.
        rows: gradient rows and activations, when they were asked for and fitted.
        losses: mean −log p over the supervised tokens of each example, in nats, by example id.
        tokens: real tokens seen (= rows of each Gram).
        supervised: tokens on which the loss was taken.
        requested: examples that were to be captured; more than were used when it was stopped.
        skipped: why examples were left out, by id.
    """

    grams: dict[Site, GradientGram]
    losses: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    supervised: int = 0
    requested: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    activations: dict[Site, GradientGram] = field(default_factory=dict)
    rows: RowStore | None = None

    @property
    def used(self) -> int:
        """Number of examples that contributed."""
        return len(self.losses)


def capture_gradients(
    lm: LanguageModel,
    encoded: EncodedSet,
    layers: tuple[int, ...],
    *,
    batch_size: int = 8,
    activations: bool = False,
    rows: RowStore | None = None,
    tell: Tell = silent,
    stop: Stop | None = None,
    peers: Peers = ALONE,
) -> Captured:
    """Gradients of the aligned loss at every token position of the key and value sites of `layers`.

    Per example the loss is the mean of −log p over its supervised tokens; a batch sums its examples, so the
    result does not depend on `batch_size` (SPD paper, phase 1). Batches go from the longest examples to the
    shortest: what does not fit in memory fails at once. `stop` is asked before each batch; what was captured
    until then is returned. `activations` asks for the Gram matrices of the keys and values too; `rows` takes up every
    token's gradient and activation, while they fit.

    Of several processes each takes every so many-th batch; all return what all have seen, in the order of one, but for
    the rows: each has those of every so many-th site.

    Raises:
        CaptureError: a loss or gradient is not finite (names the example, of each process that met one).
        Stopped: before the first batch.
        InputError: no layer, or a batch size below 1.
    """
    if not layers or batch_size < 1:
        raise InputError(f"layers {layers} and batch size {batch_size}: choose at least one layer and one example")
    sums = _Sums.of(lm.sites_at(layers), activations, rows)
    total, tokens, supervised = len(encoded.examples), 0, 0
    losses: dict[str, float] = {}
    for batch in peers.turns(list(longest_first(encoded.examples, batch_size))):
        if peers.agreed(stop):
            break
        seen = peers.all_done(partial(sums.take, lm, batch or ()))
        new = {name: loss for one in seen for name, loss in one.losses.items()}
        losses |= new
        tokens += sum(one.tokens for one in seen)
        supervised += sum(one.supervised for one in seen)
        if rows is not None and sum(one.rows_size for one in seen) > rows.limit:
            rows.overflow()
        tell(Progress(len(losses), total, "Capturing gradients", loss=fmean(new.values())))
    if not losses:
        raise Stopped("the capture was stopped before its first batch; nothing was kept")
    for gram in (*sums.grams.values(), *sums.activations.values()):
        gram.share(peers)
    kept = None
    if rows is not None and not rows.overflowed:
        by_id = {example.id: example for example in encoded.examples}
        kept = rows.shared(peers, list(sums.grams), [by_id[name] for name in losses]) if peers.count > 1 else rows
    requested = total + len(encoded.skipped)
    return Captured(sums.grams, losses, tokens, supervised, requested, dict(encoded.skipped), sums.activations, kept)


class _Seen(NamedTuple):
    """What one process has seen in one batch: losses by example id, tokens, and bytes of all rows that it keeps."""

    losses: dict[str, float]
    tokens: int
    supervised: int
    rows_size: int


@dataclass(frozen=True)
class _Sums:
    """What one process accumulates."""

    grams: dict[Site, GradientGram]
    activations: dict[Site, GradientGram]
    rows: RowStore | None

    @staticmethod
    def of(sites: Sequence[Site], activations: bool, rows: RowStore | None) -> "_Sums":
        grams, outputs = ({site: GradientGram(site.d_kv) for site in sites} for _ in range(2))
        return _Sums(grams, outputs if activations else {}, rows)

    def take(self, lm: LanguageModel, batch: Sequence[Encoded]) -> _Seen:
        """Add a batch; an empty one where only others have one left."""
        losses = self._add(lm, batch) if batch else {}
        tokens, supervised = sum(len(one.ids) for one in batch), sum(len(one.supervised) for one in batch)
        return _Seen(losses, tokens, supervised, 0 if self.rows is None else self.rows.size)

    def _add(self, lm: LanguageModel, batch: Sequence[Encoded]) -> dict[str, float]:
        sites = list(self.grams)
        with lm.lock:
            losses, gradients, outputs = batch_gradients(lm, batch, sites)
        _check_finite(lm, batch, losses, gradients)
        at = _real_tokens(batch)  # [tokens] twice
        for site, gram in self.grams.items():
            gram.update(gradients[site][at])  # [tokens, d_kv]
        for site, gram in self.activations.items():
            gram.update(outputs[site][at])
        if self.rows is not None:
            self.rows.add(
                batch, *({s: by_site[s][at].float().cpu().numpy() for s in sites} for by_site in (gradients, outputs))
            )
        return {example.id: float(loss) for example, loss in zip(batch, losses, strict=True)}


def batch_gradients(
    lm: LanguageModel, batch: Sequence[Encoded], sites: Sequence[Site]
) -> tuple[Tensor, dict[Site, Tensor], dict[Site, Tensor]]:
    """Losses, key/value gradients, and the keys and values themselves, of one batch of examples.

    Examples are padded on the right and no attention mask is given: under a causal mask no real token attends
    to what follows it, so padding contributes nothing and its gradient is zero.

    Returns:
        losses: [batch] mean −log p of each example, in nats.
        gradients: per site [batch, seq, d_kv], the gradient of the summed losses; zero at padding.
        activations: per site [batch, seq, d_kv]; meaningless at padding.
    """
    outputs: dict[str, Tensor] = {}
    with torch.enable_grad(), ExitStack() as stack:
        stack.enter_context(_frozen(lm.model))
        for module in dict.fromkeys(site.module for site in sites):
            stack.enter_context(_output_into(outputs, module, lm.model.get_submodule(module)))
        losses = batch_losses(lm, batch)  # [batch]
        grads = dict(zip(outputs, torch.autograd.grad(losses.sum(), list(outputs.values())), strict=True))
    kept = {name: output.detach() for name, output in outputs.items()}
    return losses.detach(), _by_site(grads, sites), _by_site(kept, sites)


def _by_site(by_module: dict[str, Tensor], sites: Sequence[Site]) -> dict[Site, Tensor]:
    """[batch, seq, d_kv] of each site from [batch, seq, width] of its module."""
    return {
        site: by_module[site.module][..., list(site.columns)] if site.fused else by_module[site.module]
        for site in sites
    }


def _real_tokens(batch: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """[tokens] row and [tokens] position of every token that is not padding; on the CPU, where any GPU takes them."""
    lengths = torch.tensor([len(example.ids) for example in batch])
    row, position = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).nonzero(as_tuple=True)
    return row, position


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No parameter requires a gradient inside; so nothing below the lowest target site enters the graph."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def _output_into(outputs: dict[str, Tensor], name: str, module: nn.Module) -> Iterator[None]:
    """Keep the module's output in `outputs`; it becomes a leaf when nothing before it is in the graph."""

    def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
        outputs[name] = output if output.requires_grad else output.requires_grad_()

    handle = module.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _check_finite(lm: LanguageModel, batch: Sequence[Encoded], losses: Tensor, gradients: dict[Site, Tensor]) -> None:
    remedy = "try float32 weights" if lm.dtype != torch.float32 else "leave the example out, or check the model"
    for example, loss in zip(batch, losses, strict=True):
        if not torch.isfinite(loss):
            raise CaptureError(f"example {example.id}: the loss is {float(loss)} in {lm.dtype}; {remedy}")
    for site, gradient in gradients.items():
        if torch.isfinite(gradient.sum()):  # one pass over the batch; a sum is finite only if all terms are
            continue
        bad = int((~torch.isfinite(gradient).flatten(1).all(1)).nonzero()[0])
        raise CaptureError(
            f"example {batch[bad].id}: the gradient at {site.label} is not finite in {lm.dtype}; {remedy}"
        )
