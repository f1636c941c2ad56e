"""Adapters that peft makes, random in A and in B, and what peft computes with them: the independent reference."""

import copy
from pathlib import Path
from typing import Any

import torch

from spd_core.distill.training import target_modules
from spd_core.intervention.adapters import Adapter, load_adapter
from spd_core.intervention.cards import AdapterCard, write_card
from spd_core.recipes.distill import TrainSettings


def a_card(lm: Any, **changes: Any) -> AdapterCard:
    """Of a finished training of a model; without a model, `changes` name its base and revision."""
    of = {} if lm is None else {"base": lm.name, "revision": lm.revision}
    known: dict[str, Any] = {
        "run": "20261124-152000-sums-0001", "arm": "spd", "capability": "sums", "dtype": "float32", "rows": 8,
        "steps": 5, "planned": 5, "finished": True,
        "settings": TrainSettings(), "created": "2026-11-24T15:20:00", "versions": {"python": "3"},
    }  # fmt: skip
    return AdapterCard(**{**known, **of, **changes})


def peft_model(lm: Any, *, seed: int = 0, **options: Any) -> Any:
    """A copy of the model under a LoRA of peft's own, random in A and in B."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    known = {"r": 3, "lora_alpha": 7, "target_modules": target_modules(lm.card), "task_type": "CAUSAL_LM"}
    config = LoraConfig(init_lora_weights=False, **{**known, **options})
    model = copy.deepcopy(lm.model)
    for module in model.modules():
        module._forward_hooks.clear()  # the projection's own, which a reference must not have
    return get_peft_model(model, config).eval()


def adapter_of(lm: Any, model: Any, folder: Path, **changes: Any) -> Adapter:
    """What peft saves of it, read by us."""
    model.save_pretrained(folder)
    write_card(a_card(lm, **changes), folder)
    return load_adapter(folder)


def peft_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(ids).logits
    return found
