"""A student whose rollouts an engine writes: vLLM serves the untouched model, and at each step the adapter beside it.

Only text comes of it: what the student makes of each token is read here (`student_trainer.py`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from spd_core.distill.rollouts import AskedRow, rollout_seed
from spd_core.engines.adapters import with_adapter
from spd_core.engines.client import Engine
from spd_core.engines.writing import CLOSE, EngineLane, ToBeServed, engine_for
from spd_core.engines.written import WrittenBy
from spd_core.errors import Stopped, WriterError
from spd_core.generation.decode import Completion
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.distill import ArmName, Recipe
from spd_core.recipes.lanes import Sampling
from spd_core.storage import new_folder, remove_folder

_ENOUGH = 64
"""Tokens that a mean is of: the last step of an epoch may have a few, which differ by more in bfloat16."""


@dataclass(frozen=True)
class ServedStudent:
    """An engine that writes for a student.

    Attributes:
        own: the untouched model behind it, looked over.
        written: what is to be kept of it.
        folder: where the adapter lies while it is served.
    """

    own: EngineLane
    written: WrittenBy
    folder: Path

    def write(
        self,
        rows: Sequence[AskedRow],
        sampling: Sampling,
        seed: int,
        step: int,
        stop: Stop | None = None,
        student: Any = None,
    ) -> list[Completion]:
        """What the student writes at a step, with the engine's log-probabilities of its tokens; a request depends on
        the seed, the step and its prompt's number alone.

        Args:
            student: peft's model, whose adapter is served for this; None is the untouched model.

        Raises:
            Stopped: on request.
            WriterError: the server refuses the adapter, is gone, or does not answer as asked.
            StorageError: the disk refuses.
        """
        drawn = replace(sampling, seed=rollout_seed(seed, step))
        if student is None:
            return self._asked(self.own.engine, rows, drawn, stop)
        try:
            with new_folder(self.folder, overwrite=True) as place:
                student.save_pretrained(place, safe_serialization=True, save_embedding_layers=False)
            with with_adapter(self.own.engine, f"step-{step}", self.folder) as engine:
                return self._asked(engine, rows, drawn, stop)
        finally:
            if self.folder.exists():
                remove_folder(self.folder)

    def _asked(self, engine: Engine, rows: Sequence[AskedRow], drawn: Sampling, stop: Stop | None) -> list[Completion]:
        found: dict[int, Completion] = {}
        for ask, answer in engine.write(self.own.asks(rows, drawn), drawn, stop, logprobs=True):
            one = self.own.completion(ask, answer)
            one.logprobs = list(answer.logprobs[: len(one.tokens)])
            found[ask.number] = one
        if len(found) < len(rows):
            raise Stopped("stopped on request")
        return [found[row.number] for row in rows]

    def check(self, told: Sequence[float], read: Sequence[float], step: int) -> None:
        """Refuse what was not written by the student of this step.

        Args:
            told: the engine's log-probabilities of the tokens of all its rollouts, in nats.
            read: those of the student here.

        Raises:
            WriterError: they differ by more than rounding does, or the engine told none.
        """
        place = self.own.engine.served.url
        if len(told) != len(read):
            raise WriterError(
                f"the server at {place} told {len(told)} log-probabilities of {len(read)} tokens, so that nobody can "
                "see whether the student wrote them; choose the writer local"
            )
        apart = [abs(one - other) for one, other in zip(told, read, strict=True)]
        if not sum(apart) <= CLOSE * max(len(apart), _ENOUGH):
            raise WriterError(
                f"what the server at {place} wrote is not of the student of step {step}: its log-probabilities differ "
                f"from those here by {fmean(apart):.2f} nats in the mean ({CLOSE} may be rounding), and the step is "
                "not kept. Resume, which starts the server again, or choose the writer local or dtype float32"
            )


@contextmanager
def student_engine(
    lm: LanguageModel, recipe: Recipe, arm: ArmName, rows: Sequence[AskedRow], folder: Path, stop: Stop | None
) -> Iterator[ServedStudent]:
    """A vLLM for the rollouts of an arm, until the block ends; arguments and errors as of `learning_of`."""
    rank = recipe.train.lora_r
    wanted = ToBeServed(f"{arm}-student", lm, Lane(), False, folder, adapter_rank=rank)
    with engine_for(recipe.corpus.writer, wanted, rows, recipe.sampling(arm), stop) as (own, written):
        yield ServedStudent(own, written, wanted.place / "adapter")
