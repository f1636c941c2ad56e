"""Looks at a model in training: what it writes, and how many held-out prompts it answers rightly. Trains nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from spd_core.data.capability import Capability
from spd_core.distill.corpus import CorpusRow
from spd_core.distill.review import held_apart
from spd_core.distill.write import PlannedRow, write_rows
from spd_core.generation.decode import generate
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.progress import Stop
from spd_core.recipes.distill import Recipe
from spd_core.recipes.lanes import Sampling

Marks: TypeAlias = Callable[[Sequence[CorpusRow], Capability], Mapping[int, bool]]
"""Whether rows are right, by their number; those that nobody can tell of are left out (`evaluation/marks.py`)."""
SHOWN = 48
"""Most tokens of a completion that is written only to look at."""


def completions(lm: LanguageModel, recipe: Recipe, tasks: Sequence[PlannedRow]) -> Iterator[tuple[str, str]]:
    """The last prompts of a corpus, as many as the recipe shows, each with what the model writes greedily."""
    greedy = Sampling(temperature=0.0, max_new_tokens=min(SHOWN, recipe.corpus.max_new_tokens))
    for task in tasks[len(tasks) - recipe.train.completions :]:
        yield task.prompt, generate(lm, [task.prompt], [Lane()], greedy, special_tokens=task.special)[0].text


def right_answers(
    lm: LanguageModel,
    recipe: Recipe,
    prompts: Capability,
    tasks: Sequence[PlannedRow],
    marks: Marks,
    stop: Stop | None = None,
) -> list[bool] | None:
    """Of each held-out prompt of a corpus, whether the model answers it rightly, greedily.

    None where there are none, where nobody can tell of all of them, and after a stop.
    """
    wanted = recipe.corpus
    apart = held_apart((example.id for example in prompts.examples), wanted.held_out)
    asked = [task for task in tasks if task.id in apart and task.sample == 0]
    if not asked or prompts.settings.scorer == "nll":
        return None
    greedy = Sampling(temperature=0.0, max_new_tokens=wanted.max_new_tokens)
    right = marks(write_rows(lm, asked, greedy, batch_size=wanted.batch_size, stop=stop), prompts)
    return list(right.values()) if len(right) == len(asked) else None
