"""Trains an arm that learns on what it writes: the teacher is made, some rollouts are looked at, TRL trains.

Which arm it is, and what is told, is of `rounds.py`; what it is given, of `learning.py`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from spd_core.distill.learning import asked_rows, check_rollouts, learning_digest, learning_of
from spd_core.distill.memory import check_training_memory
from spd_core.distill.on_policy import train_on_policy
from spd_core.distill.origin import files_of, seen_by_arm
from spd_core.distill.rollouts import Learning
from spd_core.distill.training import Trained
from spd_core.generation.decode import encoded_prompt
from spd_core.models.loading import LanguageModel
from spd_core.models.packing import forget_packed
from spd_core.recipes.distill import ArmName, Recipe
from spd_core.runs.events import RolloutsLooked

if TYPE_CHECKING:
    from spd_core.distill.rounds import RoundWork


def train_student(work: "RoundWork", lm: LanguageModel, arm: ArmName, round_: int, folder: Path) -> Trained:
    """Train an arm of a round on what it writes; errors as of `learning.py` and `train_on_policy`."""
    recipe, prompts = work.recipe, work.prompts
    lane = work.lane(lm, arm, round_)
    work.begin("train", arm, round_)
    rows = asked_rows(recipe, prompts, work.tasks(lm))
    with learning_of(lm, recipe, arm, lane, prompts, rows, work.folder / "engines", work.stop) as (learning, written):
        longest = max(len(encoded_prompt(lm, row.prompt, learning.rollout, row.special)) for row in rows)
        check_training_memory(lm, longest + recipe.corpus.max_new_tokens, recipe.train.batch_size)
        if learning.chunks is not None:
            share, chunks = check_rollouts(lm, recipe, learning, work.stop)
            work.tell(RolloutsLooked, share=share, chunks=chunks)
        forget_packed()
        seen = seen_by_arm(recipe, arm, rows, (), prompts, work.calibrated(arm))
        by = {"writer": "" if written is None else written.sentence, "rollouts": _rollouts_by(recipe, learning)}
        return train_on_policy(
            lm,
            learning,
            recipe.train,
            folder,
            digest=learning_digest(recipe, arm, learning, written),
            facts=work.facts(arm, lane, seen) | by,
            beside=files_of(recipe, arm, seen),
            on_news=work.on_news,
            on_epoch=lambda news: work.look(lm, news),
            stop=work.stop,
        )


def _rollouts_by(recipe: Recipe, learning: Learning) -> str:
    """What the card says of who writes the student's own text."""
    if learning.engine is not None:
        return learning.engine.written.sentence
    if recipe.corpus.writer.here:
        return ""
    return "written by SPD Lab: the adapter, another one each step, cannot be put into a server that it did not start"
