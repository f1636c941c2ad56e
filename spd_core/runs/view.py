"""What a run's events add up to: where it is, its curves, what it has found. Pure: no Streamlit, plotly or torch."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spd_core.recipes.distill import Recipe, Stage, Unit, plan, short_name
from spd_core.runs.events import (
    AnswersScored,
    AnyEvent,
    ArmDone,
    Drift,
    HygieneFound,
    Sample,
    StageBegun,
    StageProgress,
    TrainingLoss,
)

ArmRound = tuple[str, int]
"""An arm and its round, from 1."""


_ROUNDED = 5e-5
"""Epochs are told with four decimals."""


@dataclass
class Curve:
    """The losses of one training, in nats per token.

    Attributes:
        steps, epochs, losses: a value for each optimizer step that was told, ascending.
        learning_rates, grad_norms, entropies, targets, divergences: of the same steps; None where they were not told.
        held_out: step, epoch and loss of the held-out rows; of step 0 it is the untouched model's.
        scored: step, epoch, right answers and prompts, of the held-out prompts; likewise.
        planned: optimizer steps.
    """

    steps: list[int] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    held_out: list[tuple[int, float, float]] = field(default_factory=list)
    learning_rates: list[float | None] = field(default_factory=list)
    grad_norms: list[float | None] = field(default_factory=list)
    entropies: list[float | None] = field(default_factory=list)
    targets: list[float | None] = field(default_factory=list)
    divergences: list[float | None] = field(default_factory=list)
    scored: list[tuple[int, float, int, int]] = field(default_factory=list)
    planned: int = 0

    def take(self, event: TrainingLoss) -> None:
        """Add a loss. What was known of its step and later ones was told before a resume, and is replaced."""
        self.planned = event.steps
        if event.loss is not None:
            at = bisect_left(self.steps, event.step)
            self.steps[at:], self.epochs[at:], self.losses[at:] = [event.step], [event.epoch], [event.loss]
            self.learning_rates[at:], self.grad_norms[at:] = [event.learning_rate], [event.grad_norm]
            self.entropies[at:], self.targets[at:], self.divergences[at:] = (
                [event.entropy],
                [event.target],
                [event.divergence],
            )
            self.scored = [point for point in self.scored if point[0] < event.step]
        self.held_out = [point for point in self.held_out if point[0] < event.step]
        if event.held_out_loss is not None:
            self.held_out.append((event.step, event.epoch, event.held_out_loss))

    def score(self, event: AnswersScored) -> None:
        """Add how many held-out prompts were answered rightly; what was known of later steps is replaced."""
        self.scored = [point for point in self.scored if point[0] < event.step]
        self.scored.append((event.step, event.epoch, event.right, event.n))

    def epoch_means(self) -> list[tuple[int, float, float]]:
        """Last step, its epoch (rounded up) and mean training loss of each epoch, as far as it was told."""
        epochs: dict[int, list[int]] = {}
        for at, epoch in enumerate(self.epochs):
            epochs.setdefault(max(1, math.ceil(epoch - _ROUNDED)), []).append(at)
        return [
            (self.steps[places[-1]], float(epoch), sum(self.losses[at] for at in places) / len(places))
            for epoch, places in epochs.items()
        ]


@dataclass
class Final:
    """The last losses of an arm, in nats per token; None for what was not measured.

    Attributes:
        train: mean over the steps of the last epoch: a single step says more of its rows than of the model.
    """

    round: int
    train: float | None
    held_out: float | None


@dataclass(frozen=True)
class Passed:
    """A piece of work that is over, or was broken off.

    Attributes:
        seconds: that were worked on it.
        origin, last: its first and last progress; None where it told none.
    """

    stage: Stage
    seconds: float
    origin: StageProgress | None
    last: StageProgress | None


@dataclass
class RunView:
    """What a run has told so far.

    Attributes:
        stage, arm, round: what it does now; of a drift, the round whose training is looked at.
        origin, progress: the first and the last progress of this stage.
        ended: the stage has told its result.
        units: pieces of work that were begun or ended (true), in order; see `overall`.
        passed: what is over, in order; what it does now comes after them.
        worked: seconds that its processes have worked; neither waiting nor pauses count.
        damaged: lines that nobody could read.
    """

    stage: Stage | None = None
    arm: str = ""
    round: int = 1
    origin: StageProgress | None = None
    progress: StageProgress | None = None
    ended: bool = False
    curves: dict[ArmRound, Curve] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    hygiene: dict[ArmRound, HygieneFound] = field(default_factory=dict)
    drifts: dict[ArmRound, Drift] = field(default_factory=dict)
    done: dict[ArmRound, ArmDone] = field(default_factory=dict)
    units: list[tuple[Unit, bool]] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    worked: float = 0.0
    damaged: int = 0
    _entered: float = 0.0
    _last: float | None = None

    def take(self, events: Iterable[AnyEvent], damaged: int = 0) -> None:
        """Add the events that came after those taken before, and how many lines between them were damaged."""
        self.damaged += damaged
        for event in events:
            self._clock(event)
            self._take(event)

    def _clock(self, event: AnyEvent) -> None:
        begins = isinstance(event, StageBegun) and event.stage == "load"  # a process begins: what was before is a pause
        if self._last is not None and not begins:
            self.worked += max(0.0, event.time - self._last)
        self._last = event.time

    def _take(self, event: AnyEvent) -> None:
        key = (event.arm, event.round)
        match event:
            case StageBegun():
                self._enter(event)
            case StageProgress():
                if (event.stage, event.arm, _round(event)) != (self.stage, self.arm, self.round):
                    self._enter(event)  # the line that said so is damaged
                self.origin, self.progress = self.origin or event, event
            case TrainingLoss():
                self.curves.setdefault(key, Curve()).take(event)
                if event.loss is not None:  # of before a resume, as in the curve
                    self.samples = [s for s in self.samples if (s.arm, s.round) != key or s.step < event.step]
            case AnswersScored():
                self.curves.setdefault(key, Curve()).score(event)
            case Sample():
                self.samples.append(event)
            case HygieneFound():
                self.hygiene[key] = event
            case ArmDone():
                self.done[key] = event
                self._end(("train", *key))
            case Drift():  # told again by every resume
                self.drifts[key] = event
                self._end(("drift", *key))

    def _enter(self, event: StageBegun | StageProgress) -> None:
        if self.stage is not None:
            self.passed.append(Passed(self.stage, self.worked - self._entered, self.origin, self.progress))
        self._entered = self.worked
        self.stage, self.arm, self.round = event.stage, event.arm, _round(event)
        self.origin = self.progress = None
        self.ended = False
        self.units.append(((self.stage, self.arm, self.round), False))

    @property
    def since(self) -> float:
        """Seconds that were worked on what it does now."""
        return self.worked - self._entered

    def _end(self, unit: Unit) -> None:
        self.units.append((unit, True))
        self.ended = self.ended or unit == (self.stage, self.arm, self.round)


def _round(event: StageBegun | StageProgress) -> int:
    """A drift is captured on the next round's model, and belongs to the training before it."""
    return max(1, event.round - 1) if event.stage == "drift" else event.round


# --- speed -------------------------------------------------------------------------------------------------------


def eta(view: RunView) -> float | None:
    """Seconds to the end of the stage, at the rate since its first progress; None until there are two.

    The first one is the origin: what a resumed stage had before, this process has not done.
    """
    first, last = view.origin, view.progress
    if first is None or last is None or last.done <= first.done or last.seconds <= first.seconds:
        return None
    each = (last.seconds - first.seconds) / (last.done - first.done)
    return max(0, last.total - last.done) * each


def tokens_per_second(view: RunView) -> float | None:
    """Tokens a second since the first progress of the stage; None until there are two, and where none are counted."""
    first, last = view.origin, view.progress
    if first is None or last is None or last.tokens <= first.tokens or last.seconds <= first.seconds:
        return None
    return (last.tokens - first.tokens) / (last.seconds - first.seconds)


# --- the whole ---------------------------------------------------------------------------------------------------


def overall(view: RunView, recipe: Recipe) -> tuple[int, int]:
    """Finished and planned pieces of work: captures, corpora, trainings, drifts."""
    planned = plan(recipe)
    return reached(view, planned), len(planned)


def reached(view: RunView, planned: Sequence[Unit]) -> int:
    """How many pieces of work are finished.

    They come in the order planned, and a resume leaves out what is finished: what comes before the one that was reached
    is finished, told or not.
    """
    at, ended = -1, False
    for unit, its_end in view.units:
        if unit in planned[max(at, 0) :]:
            at, ended = planned.index(unit, max(at, 0)), its_end
    return max(at + ended, 0)


# --- in words ----------------------------------------------------------------------------------------------------


def describe_stage(view: RunView) -> str:
    """What it does now: `Training SPD: step 7 of 18`. Plain text: names come from a file."""
    name, at = short_name(view.arm), view.progress
    later = f", round {view.round}" if view.round > 1 else ""
    of = f" of {name}{later}" if name else ""
    what = {
        None: "Waiting for its first word",
        "load": "Loading the model",
        "capture": f"Capturing gradients{of}",
        "corpus": f"Writing the corpus{of}",
        "train": f"Training {name}{later}",
        "drift": f"Measuring the drift{of}",
    }[view.stage]
    if view.ended:
        return f"{what}: finished"
    if at is None:
        return what
    if at.stage == "train":
        return f"{what}: step {at.done} of {at.total}"
    return f"{what}: {at.done} of {at.total} {'rows' if at.stage == 'corpus' else 'examples'}"


def final_losses(view: RunView) -> dict[str, Final]:
    """The last losses of each arm, in its last round."""
    found = {}
    for (arm, round_), curve in sorted(view.curves.items(), key=lambda item: item[0][1]):
        means = curve.epoch_means()
        found[arm] = Final(round_, means[-1][2] if means else None, curve.held_out[-1][2] if curve.held_out else None)
    return {arm: found[arm] for arm in dict.fromkeys(arm for arm, _ in view.curves)}
