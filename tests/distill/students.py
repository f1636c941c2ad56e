"""Students of tiny models: prompts, settings, and a training that is watched from within its steps."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spd_core.distill.checkpoints import ADAPTER
from spd_core.distill.on_policy import train_on_policy
from spd_core.distill.rollouts import AskedRow, Learning
from spd_core.distill.teachers import SelfTeacher, Teacher
from spd_core.distill.training import Trained
from spd_core.intervention.projection import Lane
from spd_core.recipes.distill import TrainSettings
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.on_policy import ChunkSettings

DIGEST = "d" * 64
QUICK = TrainSettings(epochs=1, batch_size=4, learning_rate=5e-3, lora_dropout=0.0)
DRAWN = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=12)
CHUNKS = ChunkSettings(chunks=2, chunk_tokens=4, samples=3)


def asked(n: int = 8) -> list[AskedRow]:
    """Prompts of several lengths; their numbers begin at 5, so that a place is no number."""
    asks = ["Count" * (1 + at % 3) + f" {at}" for at in range(n)]
    return [AskedRow(5 + at, ask, True, id=f"e{at}", sample=0, asked=f"asked {ask}") for at, ask in enumerate(asks)]


def ending(lm: Any, ends: int = 24) -> Any:
    """A copy of a model that ends one text in ten tokens or so, so that rollouts differ in length; without dropout."""
    model = copy.deepcopy(lm.model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.generation_config.eos_token_id = list(range(1, ends))
    return dataclasses.replace(lm, model=model)


def omniopd(
    lm: Any, teacher: Teacher | None = None, n: int = 8, rollout: Sampling = DRAWN, **settings: Any
) -> Learning:
    """OmniOPD, with the raw self beside it unless told."""
    chunks = CHUNKS.model_copy(update=settings)
    return Learning(asked(n), rollout, 3, chunks=chunks, teacher=teacher or SelfTeacher(lm, Lane()))


def trained(lm: Any, learning: Learning, folder: Path, settings: TrainSettings = QUICK, **more: Any) -> Trained:
    return train_on_policy(lm, learning, settings, folder, digest=DIGEST, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / ADAPTER / "adapter_model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    """Bit for bit."""
    mine, others = weights(one), weights(other)
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


@dataclass
class Watched:
    """What the steps of a training went through.

    Attributes:
        inputs, losses: of each step; `gradients` of the adapter's weights, by name, before they are clipped.
        students: copies of the model in training with its adapter, as it was when the loss was taken.
        within: called in each step with the trainer, the student and the inputs, before the loss is taken.
    """

    inputs: list[dict[str, torch.Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)
    students: list[Any] = field(default_factory=list)
    within: list[Callable[[Any, Any, dict[str, torch.Tensor]], None]] = field(default_factory=list)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """All trainings of the test, watched."""
    from spd_core.distill.student_trainer import StudentTrainer

    seen = Watched()
    loss, step = StudentTrainer.compute_loss, StudentTrainer.training_step

    def compute_loss(self: Any, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        student = self.accelerator.unwrap_model(model)
        seen.inputs.append({name: value.clone() for name, value in inputs.items()})
        seen.students.append(copy.deepcopy(student))
        for look in seen.within:
            look(self, student, inputs)
        return loss(self, model, inputs, *given, **named)

    def training_step(self: Any, model: Any, *given: Any, **named: Any) -> Any:
        found = step(self, model, *given, **named)
        seen.losses.append(float(found))
        seen.gradients.append(
            {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
        )
        return found

    monkeypatch.setattr(StudentTrainer, "compute_loss", compute_loss)
    monkeypatch.setattr(StudentTrainer, "training_step", training_step)
    return seen


def levenshtein(one: str, other: str) -> int:
    """The table of the textbook."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]
