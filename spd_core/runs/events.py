"""What a run tells while it works: one event a line of `events.jsonl`. Imports no torch: pages read it, too."""

from typing import Literal, TypeAlias

from spd_core.recipes.distill import Stage
from spd_core.records import Record


class Event(Record):
    """Base of all events.

    Attributes:
        time: seconds since the epoch.
        arm: whose work it is; empty for stages that arms share.
        round: from 1; of an evaluation, the seed's place among the seeds.
        set: the set of items that an evaluation is at.
    """

    time: float
    arm: str = ""
    round: int = 1
    set: str = ""


class StageBegun(Event):
    """A stage begins; what it says holds until the next one does."""

    kind: Literal["stage"] = "stage"
    stage: Stage


class StageProgress(Event):
    """How far the stage is.

    Attributes:
        done, total: examples (capture, drift), rows (corpus), optimizer steps (train) or items (evaluate).
        tokens: that this process has gone through since the stage began.
        seconds: since then.
    """

    kind: Literal["progress"] = "progress"
    stage: Stage
    done: int
    total: int
    tokens: int = 0
    seconds: float = 0.0


class TrainingLoss(Event):
    """Mean −log p in nats: of a step's tokens, or of the held-out rows; of an arm that learns on what it writes, the
    loss of its method.

    Attributes:
        learning_rate: of that step; None where it was not told, as by earlier versions.
        grad_norm: of that step's gradient, before it is clipped; likewise.
        entropy: mean of the tokens that the student wrote at that step, in nats; None of arms that write before.
        target, divergence: of OmniOPD, mean π̂ of the step's chunks, and mean KL(π_ref ‖ π_θ) of a token in no chunk, in
            nats; None where there is none.
    """

    kind: Literal["loss"] = "loss"
    step: int
    steps: int
    epoch: float
    loss: float | None = None
    held_out_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    entropy: float | None = None
    target: float | None = None
    divergence: float | None = None


class AnswersScored(Event):
    """Held-out prompts, answered greedily by the model in training: at step 0, and after each epoch.

    Attributes:
        right: answers that the capability's scorer calls right, of `n`.
    """

    kind: Literal["scored"] = "scored"
    step: int
    epoch: float
    right: int
    n: int


class Sample(Event):
    """What the model in training writes after a prompt, greedily."""

    kind: Literal["sample"] = "sample"
    step: int
    epoch: float
    prompt: str
    completion: str


class HygieneFound(Event):
    """What was left out of a corpus before training.

    Attributes:
        counts: rows by reason.
        examples: the number and the completion of the first few rows by reason.
        calibration: how many of the prompts the subspace was captured from.
    """

    kind: Literal["hygiene"] = "hygiene"
    kept: int
    counts: dict[str, int]
    examples: dict[str, tuple[tuple[int, str], ...]]
    calibration: int = 0


class RolloutsLooked(Event):
    """What a student wrote before a training of OmniOPD.

    Attributes:
        share: of rollouts that are at least a chunk long.
        chunks: that one has, in the mean.
    """

    kind: Literal["rollouts"] = "rollouts"
    share: float
    chunks: float


class Drift(Event):
    """How far the capability subspace has turned from the one of the untouched model.

    Attributes:
        overlap: mean cos² of the principal angles by site, 1 where nothing has turned; `before` is the same against
            the round before.
        angles: in degrees by site, ascending.
        chance: overlap of two random subspaces of these ranks.
    """

    kind: Literal["drift"] = "drift"
    overlap: dict[str, float]
    before: dict[str, float]
    angles: dict[str, tuple[float, ...]]
    chance: dict[str, float]


class ArmDone(Event):
    """An arm's training has ended by itself."""

    kind: Literal["arm"] = "arm"
    steps: int
    planned: int
    rows: int
    seconds: float


class CellDone(Event):
    """All items of one set were answered by one subject with one seed; `arm` is the subject's name.

    Attributes:
        n: items.
        value: share of right answers, or mean −log p in nats.
        reused: items whose records were there before.
        tokens, seconds: what writing the others took.
    """

    kind: Literal["cell"] = "cell"
    n: int
    value: float
    reused: int
    tokens: int
    seconds: float


AnyEvent: TypeAlias = (
    StageBegun
    | StageProgress
    | TrainingLoss
    | AnswersScored
    | Sample
    | HygieneFound
    | RolloutsLooked
    | Drift
    | ArmDone
    | CellDone
)
