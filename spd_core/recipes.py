"""What a distillation is asked to do, as settings: arms, sampling, training. Imports no torch: pages write it, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, ValidationError, field_validator

from spd_core.capability import Loss, Style
from spd_core.errors import InputError
from spd_core.lane_specs import Record
from spd_core.sampling import Sampling

ArmName: TypeAlias = Literal["psr", "ssd", "apple", "spd", "random", "full", "shuffled"]
SubspaceOf: TypeAlias = Literal["none", "capability", "random", "full loss", "shuffled answers"]
LossOn: TypeAlias = Literal["prompt_and_completion", "completion"]
Reason: TypeAlias = Literal["leakage", "empty", "degenerate", "duplicate"]
REASONS: tuple[Reason, ...] = ("leakage", "empty", "degenerate", "duplicate")


class Arm(Record):
    """One way of writing the corpus; all arms write on the same prompts with the same noise.

    Attributes:
        subspace: where keys and values are projected to while the corpus is written.
        isolates: what a comparison with this arm shows.
    """

    name: ArmName
    label: str
    isolates: str
    subspace: SubspaceOf = "none"
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0


ARMS: Mapping[ArmName, Arm] = {
    arm.name: arm
    for arm in (
        Arm(name="psr", label="PSR, plain self-retraining", isolates="training on one's own text", top_p=1.0),
        Arm(name="ssd", label="SSD, simple self-distillation", isolates="truncated sampling"),
        Arm(name="apple", label="SSD, as Apple set it", isolates="truncated sampling, hotter", temperature=1.6,
            top_p=0.8, top_k=20),
        Arm(name="spd", label="SPD, self-policy distillation", isolates="the method", subspace="capability"),
        Arm(name="random", label="Random subspace", isolates="any projection", subspace="random"),
        Arm(name="full", label="Full-loss subspace", isolates="which tokens count", subspace="full loss"),
        Arm(name="shuffled", label="Shuffled answers", isolates="whether the labels matter",
            subspace="shuffled answers"),
    )
}  # fmt: skip


class CaptureSettings(Record):
    """How the capability subspace of a run is captured; see `study.StudySettings`."""

    layers: str = "middle,last"
    rank: str = "half"
    loss: Loss = "aligned"
    examples: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=8, ge=1)
    center: bool = True
    strength: float = Field(default=1.0, ge=0, le=1)


class CorpusSettings(Record):
    """Which prompts are written on, and how long; what an arm does not say of sampling.

    Attributes:
        prompts: the first so many calibration prompts; None takes all.
        drop: rows that are left out of training.
    """

    prompts: int | None = Field(default=None, ge=1)
    prompt_style: Style = "raw"
    samples: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=16, ge=1)
    drop: tuple[Reason, ...] = REASONS


class TrainSettings(Record):
    """How an adapter is trained; the defaults are the paper's, where it says so.

    Attributes:
        lora_alpha: the adapter's output is scaled by alpha ÷ r.
        batch_size: rows in an optimizer step; the paper leaves it open.
        loss_on: the tokens that are trained on. Padding never is.
        patience: end when the held-out loss has not fallen for so many epochs, and keep the best; 0 trains on.
        seed: of the adapter's first weights, dropout and the order of rows.
    """

    lora_r: int = Field(default=8, ge=1)
    lora_alpha: int = Field(default=8, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=8, ge=1)
    loss_on: LossOn = "prompt_and_completion"
    patience: int = Field(default=0, ge=0)
    seed: int = Field(default=42, ge=0, lt=2**31)


class Recipe(Record):
    """A whole distillation: one capability, several arms.

    Attributes:
        capability: a built-in name, the name of an own one, or a file.
        seed: of the corpus' noise and of the random subspace.
    """

    capability: str = Field(min_length=1)
    model: str = "builtin"
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    arms: tuple[ArmName, ...] = ("psr", "ssd", "spd")
    capture: CaptureSettings = CaptureSettings()
    corpus: CorpusSettings = CorpusSettings()
    train: TrainSettings = TrainSettings()
    rounds: int = Field(default=1, ge=1)
    seed: int = Field(default=42, ge=0, lt=2**31)

    @field_validator("arms")
    @classmethod
    def _some_and_different(cls, arms: tuple[ArmName, ...]) -> tuple[ArmName, ...]:
        if not arms or len(set(arms)) < len(arms):
            raise InputError(f"arms {list(arms)}: name at least one, each once; there are {', '.join(ARMS)}")
        return arms

    def sampling(self, arm: ArmName) -> Sampling:
        """How an arm's corpus is sampled; the noise is the same for all."""
        chosen = ARMS[arm]
        return Sampling(chosen.temperature, chosen.top_p, self.corpus.max_new_tokens, self.seed, top_k=chosen.top_k)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file.

    Raises:
        InputError: the file cannot be read, or a setting is unknown or out of range; the message names it.
    """
    try:
        return Recipe.model_validate_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "the file"
        given = f" (given: {wrong['input']!r})" if wrong["type"] not in ("missing", "json_invalid") else ""
        raise InputError(f"{path}: {where}: {wrong['msg']}{given}; correct it and start again") from error
