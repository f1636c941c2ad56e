"""What a distillation is asked to do, as settings: arms, sampling, training. Imports no torch: pages write it, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from spd_core.data.capability import Style
from spd_core.errors import InputError
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.lanes import LaneSpec, Sampling, SubspaceOf
from spd_core.recipes.on_policy import ChunkSettings, Method, RolloutSettings, chunks_that_fit
from spd_core.recipes.presets import preset_under, read_settings, validated
from spd_core.recipes.writer import LOCAL_WRITER, Writer
from spd_core.records import Request

ArmName: TypeAlias = Literal[
    "psr", "ssd", "apple", "spd", "random", "full", "shuffled", "contrast",
    "on-policy", "omniopd", "omniopd-raw", "omniopd-random", "omniopd-model",
]  # fmt: skip
LossOn: TypeAlias = Literal["prompt_and_completion", "completion", "prompt_completion_and_padding"]
Target: TypeAlias = Literal["q", "k", "v", "o"]
LogTo: TypeAlias = Literal["tensorboard"]
Reason: TypeAlias = Literal["leakage", "empty", "degenerate", "duplicate"]
REASONS: tuple[Reason, ...] = ("leakage", "empty", "degenerate", "duplicate")


class Arm(Request):
    """One way of learning from one's own text; all arms have the same prompts with the same noise.

    Attributes:
        subspace: where keys and values are projected to while the corpus is written, or while a teacher writes.
        isolates: what a comparison with this arm shows.
        method: from what it learns; the temperature and the like are those of a corpus.
    """

    name: ArmName
    label: str
    isolates: str
    subspace: SubspaceOf = "none"
    method: Method = "sft"
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0


ARMS: Mapping[ArmName, Arm] = {
    arm.name: arm
    for arm in (
        Arm(name="psr", label="PSR, plain self-retraining", isolates="training on one's own text", top_p=1.0),
        Arm(name="ssd", label="SSD, simple self-distillation", isolates="truncated sampling"),
        Arm(
            name="apple",
            label="SSD, as Apple set it",
            isolates="truncated sampling, hotter",
            temperature=1.6,
            top_p=0.8,
            top_k=20,
        ),
        Arm(name="spd", label="SPD, self-policy distillation", isolates="the method", subspace="capability"),
        Arm(name="random", label="Random subspace", isolates="any projection", subspace="random"),
        Arm(name="full", label="Full-loss subspace", isolates="which tokens count", subspace="full loss"),
        Arm(
            name="shuffled", label="Shuffled answers", isolates="whether the labels matter", subspace="shuffled answers"
        ),
        Arm(name="contrast", label="Contrast subspace", isolates="what is the capability's alone", subspace="contrast"),
        Arm(
            name="on-policy",
            label="On-policy SPD",
            isolates="the projected self's probabilities instead of its text",
            subspace="capability",
            method="on-policy",
        ),
        Arm(
            name="omniopd",
            label="OmniOPD, taught by the projected self",
            isolates="the projected self's text beside chunks of one's own",
            subspace="capability",
            method="omniopd",
        ),
        Arm(
            name="omniopd-raw",
            label="OmniOPD by the raw self",
            isolates="any teacher at all",
            method="omniopd",
        ),
        Arm(
            name="omniopd-random",
            label="OmniOPD by a random subspace",
            isolates="any projected teacher",
            subspace="random",
            method="omniopd",
        ),
        Arm(
            name="omniopd-model",
            label="OmniOPD by another model",
            isolates="a teacher that knows more",
            method="omniopd",
        ),
    )
}


def short_name(arm: str) -> str:
    """`SPD`, `SSD (Apple)`, `Random subspace`; an unknown name as it is."""
    if arm == "apple":
        return "SSD (Apple)"
    found = {str(name): known for name, known in ARMS.items()}.get(arm)
    return arm if found is None else found.label.partition(",")[0]


class CorpusSettings(Request):
    """Which prompts are written on, and how long; what an arm does not say of sampling.

    Attributes:
        split: whose prompts; `train` has none that the subspace was captured from.
        prompts: the first so many of them; None takes all.
        held_out: the last so many of those prompts: what is written on them is scored, never trained on.
        batch_size: rows written at once: 32 take a third longer than 16, and twice as many tokens come of it.
        temperature, top_p, top_k: for all arms alike; None leaves each arm its own.
        drop: rows that are left out of training.
        writer: who writes it, and for a teacher of OmniOPD that is the model itself.
    """

    split: Literal["calibration", "train"] = "train"
    prompts: int | None = Field(default=None, ge=1)
    held_out: int = Field(default=0, ge=0)
    prompt_style: Style = "raw"
    samples: int = Field(default=1, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=32, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    drop: tuple[Reason, ...] = REASONS
    writer: Writer = LOCAL_WRITER


class TrainSettings(Request):
    """How an adapter is trained; the defaults are the paper's, where it says so.

    Attributes:
        lora_alpha: the adapter's output is scaled by alpha ÷ r.
        lora_targets: maps of the attention that get an adapter: queries, keys, values, output.
        batch_size: rows in an optimizer step; the paper leaves it open.
        loss_on: the tokens that are trained on. Padding only where it is named: a control, which teaches to stop.
        patience: end when the held-out loss has not fallen for so many epochs, and keep the best; 0 trains on.
        completions: how many prompts are continued after each epoch, to look at; they change nothing.
        seed: of the adapter's first weights, dropout and the order of rows.
        log_to: what else writes the curves down, into the run's folder; it changes nothing.
    """

    lora_r: int = Field(default=8, ge=1)
    lora_alpha: int = Field(default=8, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    lora_targets: tuple[Target, ...] = Field(default=("q", "k", "v", "o"), min_length=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=8, ge=1)
    loss_on: LossOn = "prompt_and_completion"
    patience: int = Field(default=0, ge=0)
    completions: int = Field(default=2, ge=0)
    seed: int = Field(default=42, ge=0, lt=2**31)
    log_to: tuple[LogTo, ...] = ()


class Recipe(Request):
    """A whole distillation: one capability, several arms.

    Attributes:
        capability: a built-in name, the name of an own one, a public data set, or a file.
        rollout: how a student writes in training, of arms that learn on that; `corpus.max_new_tokens` bounds it.
        omniopd: of the arms of that name.
        rounds: how often it is captured, written and trained; each round starts from the merged model before it.
        drift: capture once more on every trained model, to see how far its subspace has turned.
        review: wait after the corpus is written, until somebody has looked at it.
        seed: of the corpus' noise and of the random subspace.
    """

    kind: Literal["distillation"] = "distillation"
    capability: str = Field(min_length=1)
    model: str = "builtin"
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    arms: tuple[ArmName, ...] = ("psr", "ssd", "spd")
    capture: CaptureSettings = CaptureSettings()
    corpus: CorpusSettings = CorpusSettings()
    train: TrainSettings = TrainSettings()
    rollout: RolloutSettings = RolloutSettings()
    omniopd: ChunkSettings = Field(default_factory=chunks_that_fit)
    rounds: int = Field(default=1, ge=1, le=1000)
    drift: bool = True
    review: bool = False
    seed: int = Field(default=42, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _fits(self) -> "Recipe":
        if self.train.patience and not self.corpus.held_out:
            raise ValueError(f"train.patience {self.train.patience} needs corpus.held_out above 0, or set it to 0")
        if self.corpus.prompts is not None and self.corpus.held_out >= self.corpus.prompts:
            raise ValueError(
                f"corpus.held_out {self.corpus.held_out} of {self.corpus.prompts} prompts leaves none to train on; "
                "hold out fewer"
            )
        if not all(map(self.writes, self.arms)):
            self._check_on_policy()
        contrasts = [arm for arm in self.arms if ARMS[arm].subspace == "contrast"]
        if contrasts:
            check_without(f"the arm {contrasts[0]}", self.capability, self.capture)
        return self

    def _check_on_policy(self) -> None:
        """Refuse what an arm that learns on its own text cannot have."""
        arm = next(arm for arm in self.arms if not self.writes(arm))
        if self.train.patience:
            raise ValueError(f"train.patience {self.train.patience}: the arm {arm} has no held-out loss; set it to 0")
        chunks, longest = self.omniopd, self.corpus.max_new_tokens
        audited = next((arm for arm in self.arms if ARMS[arm].method == "omniopd"), None)
        if audited is not None and chunks.chunk_tokens > longest:
            raise ValueError(
                f"omniopd.chunk_tokens {chunks.chunk_tokens} is more than a rollout can have "
                f"(corpus.max_new_tokens {longest}): no chunk, nothing to learn; choose at most {longest}"
            )
        if "omniopd-model" in self.arms and not chunks.names_a_teacher:
            raise ValueError(
                "the arm omniopd-model needs a teacher: name a model in omniopd.teacher, or a server in omniopd.server"
            )

    @field_validator("arms")
    @classmethod
    def _some_and_different(cls, arms: tuple[ArmName, ...]) -> tuple[ArmName, ...]:
        if not arms or len(set(arms)) < len(arms):
            raise InputError(f"arms {list(arms)}: name at least one, each once; there are {', '.join(ARMS)}")
        return arms

    @staticmethod
    def writes(arm: str) -> bool:
        """Whether an arm learns from a corpus that is written before; else from what it writes in training."""
        return all(known.method == "sft" for known in ARMS.values() if known.name == arm)

    def asks_writer(self, arm: ArmName) -> bool:
        """Whether `corpus.writer` writes for an arm: its corpus, its rollouts, or what its teacher writes, which is the
        untouched model projected or not."""
        return self.writes(arm) or self.serves_student(arm) or self.serves_teacher(arm)

    def serves_teacher(self, arm: ArmName) -> bool:
        """Whether an engine can write for an arm's teacher."""
        return ARMS[arm].method == "omniopd" and arm != "omniopd-model"

    def serves_student(self, arm: ArmName) -> bool:
        """Whether an engine writes an arm's rollouts: one that is started here, as it is given an adapter each step."""
        return not self.writes(arm) and self.corpus.writer.kind == "vllm"

    @property
    def checkpoints_served(self) -> int:
        """How often the model lies on the disk once more, at most at a time, while an engine writes."""
        both = any(self.serves_student(arm) and self.serves_teacher(arm) for arm in self.arms)
        return (1 + both) if self.corpus.writer.keeps_checkpoint else 0

    def sampling(self, arm: ArmName) -> Sampling:
        """How an arm's text is sampled; the noise is the same for all."""
        own, all_alike = ARMS[arm], self.corpus
        if not self.writes(arm):
            return Sampling(self.rollout.temperature, self.rollout.top_p, all_alike.max_new_tokens, self.seed)
        return Sampling(
            own.temperature if all_alike.temperature is None else all_alike.temperature,
            own.top_p if all_alike.top_p is None else all_alike.top_p,
            all_alike.max_new_tokens,
            self.seed,
            top_k=own.top_k if all_alike.top_k is None else all_alike.top_k,
        )

    def lane(self, arm: ArmName) -> LaneSpec:
        """How an arm's corpus is written, or its teacher writes."""
        own = self.capture
        return LaneSpec(of=ARMS[arm].subspace, rank=own.rank, strength=own.strength, seed=self.seed)

    def written_by(self, arm: ArmName) -> Any:
        """What of the writer decides which rows an arm gets."""
        return self.corpus.writer.decides(arm, ARMS[arm].subspace != "none")

    def corpus_name(self, arm: ArmName) -> str:
        """Name of the corpus that an arm trains on: of the first arm that writes in the same way; its own where there
        is none."""
        own = (ARMS[arm].method, ARMS[arm].subspace, self.sampling(arm))
        ways = ((name, (ARMS[name].method, ARMS[name].subspace, self.sampling(name))) for name in self.arms)
        return next(name for name, way in ways if way == own) if self.writes(arm) else arm


def check_without(what: str, capability: str, settings: CaptureSettings) -> None:
    """Refuse a contrast without anything to leave out, or with the capability itself; `what` asks for it.

    Raises:
        ValueError: what is wrong, with the setting's name.
    """
    if not settings.without:
        raise ValueError(f"{what} needs capture.without: the capabilities whose directions it leaves out")
    if capability in settings.without or len(set(settings.without)) < len(settings.without):
        raise ValueError(
            f"capture.without {list(settings.without)}: name other capabilities than {capability}, each once"
        )


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file; `"preset": "quick"` in it starts from that preset.

    Raises:
        InputError: the file cannot be read, or a setting is unknown or out of range; the message names it.
    """
    return read_settings(path, recipe_from)


def recipe_from(settings: Any) -> Recipe:
    """A recipe from what a JSON file or a page says.

    Raises:
        InputError: a setting or preset is unknown or out of range; the message names it.
    """
    return validated(Recipe, preset_under(settings), "the recipe")


# --- what a recipe amounts to --------------------------------------------------------------------------------------


Stage: TypeAlias = Literal["load", "capture", "corpus", "train", "drift", "evaluate"]
"""What a run does at a time; `evaluate` in evaluations alone."""
Unit: TypeAlias = tuple[Stage, str, int]
"""A piece of work: stage, arm (empty where arms share it), round."""


def plan(recipe: Recipe) -> list[Unit]:
    """All pieces of work in the order in which `pipeline.carry_out` does them."""
    kinds = {arm: "capability" if ARMS[arm].subspace == "random" else ARMS[arm].subspace for arm in recipe.arms}
    units: list[Unit] = []
    captured = {"none"}
    for arm in filter(recipe.writes, recipe.arms):
        corpus: Unit = ("corpus", recipe.corpus_name(arm), 1)
        if corpus not in units:
            units += [*_capture(kinds[arm], captured), corpus]
    for arm in recipe.arms:
        if recipe.drift:  # it is measured from the untouched model
            units += _capture("capability", captured)
        if not recipe.writes(arm):
            units += _capture(kinds[arm], captured)
        for round_ in range(1, recipe.rounds + 1):
            if round_ > 1:
                known = ("none", "capability") if recipe.drift else ("none",)  # the drift before has captured it
                units += [("capture", arm, round_)] if kinds[arm] not in known else []
                units += [("corpus", arm, round_)] if recipe.writes(arm) else []
            units.append(("train", arm, round_))
            units += [("drift", arm, round_)] if recipe.drift else []
    return units


def _capture(kind: str, captured: set[str]) -> list[Unit]:
    """The capture that a first round needs, unless an arm before has it already."""
    new = kind not in captured
    captured.add(kind)
    return [("capture", "", 1)] if new else []
