"""Passes over one batch that differ only from a layer on: the layers below it are carried out once, to the same bits.

Knows nothing of what differs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from spd_core.models.families import Site
from spd_core.models.loading import LanguageModel


def layers_below(lm: LanguageModel, site: Site) -> list[nn.Module]:
    """The layers of the decoder below that of a site, the first one first."""
    path, _, _ = site.module.partition(f".{site.layer}.")  # model.layers of model.layers.3.self_attn.k_proj
    layers: Any = lm.model.get_submodule(path)
    return list(layers[: site.layer])


@contextmanager
def carried_out_once(layers: Sequence[nn.Module], given: list[Any]) -> Iterator[None]:
    """Inside, the first layers of a model compute only if `given` is empty, and else give what it holds.

    The caller holds the model's lock: nobody else may pass through the model meanwhile.

    Args:
        layers: the first ones of the decoder, none left out.
        given: what the last of them gave for this batch; a list of its own for every batch, and empty at first.
    """
    with _replaced(layers, given[0]) if given else _kept(layers, given):
        yield


@contextmanager
def _kept(layers: Sequence[nn.Module], given: list[Any]) -> Iterator[None]:
    handles = [layer.register_forward_hook(lambda _m, _a, output: given.append(output)) for layer in layers[-1:]]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _replaced(layers: Sequence[nn.Module], output: Any) -> Iterator[None]:
    before = [(layer, vars(layer).get("forward")) for layer in layers]  # its own where a model is divided among GPUs
    try:
        for layer in layers:
            layer.forward = lambda *_args, **_names: output
        yield
    finally:
        for layer, forward in before:
            vars(layer).pop("forward", None)
            if forward is not None:
                layer.forward = forward
