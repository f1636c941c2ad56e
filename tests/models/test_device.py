"""Models that one GPU cannot hold: when they are divided, what is refused, and that a capture follows the hooks.

No GPU is at hand: accelerate puts its hooks, which move inputs and weights between devices, around one processor.
"""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from transformers import AutoModelForCausalLM

from spd_core.errors import ModelError
from spd_core.models.device import free_on_each, is_divided, refuse_offloaded
from spd_core.models.weights import rewriting
from spd_core.subspace.capture import capture_gradients
from tests.subspace.test_capture import random_examples, relative

GIB = 2**30


@pytest.mark.parametrize(
    ("needed", "free", "divided"),
    [
        (70, [80, 80], False),  # it fits on one
        (140, [80, 80], True),
        (161, [80, 80], False),  # on all, not either: it is refused as on one
        (140, [80], False),
        (140, [], False),
    ],
)
def test_what_fits_on_no_single_gpu_is_divided_where_it_fits_on_all(
    needed: int, free: list[int], divided: bool
) -> None:
    assert is_divided(needed * GIB, [one * GIB for one in free]) is divided


def test_one_of_several_processes_has_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (number * GIB, 80 * GIB))
    assert free_on_each() == [0, GIB, 2 * GIB, 3 * GIB]
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert free_on_each() == []


def test_weights_that_found_no_gpu_are_refused(family_folder: Callable[[str], Path], tmp_path: Path) -> None:
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "cpu",
              "model.layers.0": "cpu", "model.layers.1": "disk", "model.layers.2": "cpu"}  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        family_folder("llama"), device_map=places, offload_folder=str(tmp_path / "offloaded")
    )
    with pytest.raises(
        ModelError, match=r"big does not fit on the GPUs: 9 of its weights were left .*layers\.1\..*use more"
    ):
        refuse_offloaded(model, "big")
    refuse_offloaded(AutoModelForCausalLM.from_pretrained(family_folder("llama")), "big")


def test_a_projection_is_not_folded_into_weights_that_are_elsewhere(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    away = dataclasses.replace(lm, model=copy.deepcopy(lm.model))
    path = lm.sites[0].module
    away.model.get_submodule(path).to("meta")
    with (
        pytest.raises(ModelError, match=f"cannot write into {path}: its weights are offloaded"),
        rewriting(away, [path]),
    ):
        pass


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_capture_follows_a_model_that_accelerate_has_placed(family: str, double_lm: Callable[[str], Any]) -> None:
    lm = double_lm(family)
    whole = capture_gradients(lm, random_examples(5), (1, 2), batch_size=2)
    model = copy.deepcopy(lm.model)
    names = [name for name, _ in model.get_decoder().named_children()]
    prefix = "model" if family == "llama" else "transformer"
    places = {**{f"{prefix}.{name}": "cpu" for name in names}, "lm_head": "cpu"}
    placed = dataclasses.replace(lm, model=dispatch_model(model, places, main_device="cpu", force_hooks=True))
    assert hasattr(placed.model, "_hf_hook")
    found = capture_gradients(placed, random_examples(5), (1, 2), batch_size=2)
    assert found.losses == whole.losses
    for site, gram in whole.grams.items():
        assert relative(found.grams[site].gram, gram.gram) < 1e-12
