"""A training, watched: it tells its losses, ends when asked to, and refuses a loss that is not finite."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spd_core.errors import TrainingError
from spd_core.models.loading import LanguageModel
from spd_core.runs.parallel import together


@dataclass(frozen=True)
class TrainNews:
    """Where a training stands.

    Attributes:
        loss: mean −log p of the tokens of the last step, in nats; None for a report on the held-out rows.
        held_out_loss: the same of the held-out rows, before the first step and after each epoch.
        learning_rate, grad_norm: of the last step; the norm of its gradient is from before it is clipped.
        entropy, target, divergence: of the last step, see `events.TrainingLoss`; None of what was not measured.
        tokens: that the training has gone through.
    """

    step: int
    steps: int
    epoch: float
    loss: float | None = None
    held_out_loss: float | None = None
    tokens: int = 0
    learning_rate: float | None = None
    grad_norm: float | None = None
    entropy: float | None = None
    target: float | None = None
    divergence: float | None = None


MEASURES = ("entropy", "target", "divergence")
"""What a training on the student's own text measures at each step."""


def watch_training(
    lm: LanguageModel,
    on_news: Callable[[TrainNews], None] | None,
    on_epoch: Callable[[TrainNews], None] | None,
    stop: Callable[[], bool] | None,
    measures: Sequence[str] = (),
    enough: Callable[[Any], bool] | None = None,
) -> Any:
    """A callback of transformers that passes news on, ends when asked to, and refuses a loss that is not finite.

    Args:
        measures: what is passed on of what the trainer logs, beside its losses.
        enough: asked after each step with the trainer's state; true ends the training there, as finished.
    """
    import torch
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.news: list[TrainNews] = []
            self.stopped = False

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs: dict[str, float] = kwargs["logs"]
            loss, held_out = logs.get("loss"), logs.get("eval_loss")
            value = loss if loss is not None else held_out
            if value is None:
                return
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss is {value} at step {state.global_step}; use a lower learning rate, or float32 instead "
                    "of bfloat16"
                )
            told = {name: logs.get(name) for name in ("learning_rate", "grad_norm", *measures)}
            tokens = int(logs.get("num_tokens", 0))
            self.news.append(TrainNews(state.global_step, state.max_steps, state.epoch, loss, held_out, tokens, **told))
            if on_news is not None:
                on_news(self.news[-1])
            if enough is not None and enough(state):
                control.should_training_stop = True

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step < state.max_steps and together().agreed(stop):
                self.stopped = control.should_training_stop = control.should_save = True

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 0:
                self._look(state)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._look(state)

        def _look(self, state: Any) -> None:
            if on_epoch is None or not state.is_world_process_zero:
                return
            training = lm.model.training
            lm.model.eval()
            try:
                with torch.random.fork_rng():
                    on_epoch(TrainNews(state.global_step, state.max_steps, state.epoch or 0.0))
            finally:
                lm.model.train(training)

    return Watch()
