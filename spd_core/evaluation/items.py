"""A set that is ready to be asked: its items, what a model reads of each, and what makes a record that of an item.

Knows nothing of answers; who gives them is in `evaluation/answers.py`, how they are kept in `evaluation/store.py`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from spd_core.data.capability import Capability, Example, Scorer, Style
from spd_core.data.catalog import find_capability
from spd_core.data.spans import Encoded, encode, generation_prompt
from spd_core.errors import InputError
from spd_core.evaluation.scoring import option_letters, scorer_fits
from spd_core.evaluation.store import About, Asked, ItemRecord
from spd_core.generation.numbered import NumberedPrompt
from spd_core.models.loading import LanguageModel
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.sets import EvalSet, answer_length

_REFERENCE_TOKENS = 1024
"""Longest prompt and reference answer whose likelihood is taken."""


@dataclass(frozen=True)
class Items:
    """A set, ready to be asked.

    Attributes:
        name: short, as in the recipe.
        capability: settings and the examples that its scorer fits; each as often as answers are drawn to it.
        unfit: ids of those it does not fit.
        samples: answers to each.
        sampling: how they are written; None, as of tasks of a harness, takes the likeliest token each time.
    """

    name: str
    capability: Capability
    style: Style
    max_new_tokens: int
    unfit: tuple[str, ...] = field(default=())
    samples: int = 1
    sampling: Sampling | None = None

    @property
    def scorer(self) -> Scorer:
        """How answers are scored."""
        return self.capability.settings.scorer

    @property
    def chance(self) -> float | None:
        """Expected share of right guesses where there are options; None elsewhere."""
        if self.scorer != "letter":
            return None
        return fmean(1 / len(option_letters(example)) for example in self.capability.examples)

    def about(self, subject: str, writer: str = "") -> About:
        """What the records of a subject, called by its fingerprint, depend on; `writer` as in `About`."""
        settings = self.capability.settings
        return About(
            subject=subject,
            set=self.capability.name,
            template=settings.template,
            scorer=settings.scorer,
            style=self.style,
            max_new_tokens=self.max_new_tokens,
            writer=writer,
            sampling=self._drawn,
        )

    @property
    def _drawn(self) -> str:
        """How answers are drawn, in short; empty where none is."""
        if self.samples == 1 or self.sampling is None:
            return ""
        return f"temperature {self.sampling.temperature:g}, top-p {self.sampling.top_p:g}, seed {self.sampling.seed}"

    def prompts(self, lm: LanguageModel) -> list[NumberedPrompt]:
        """What the model reads of each item, numbered in the set's order."""
        settings, texts = self.capability.settings, (example.prompt for example in self.capability.examples)
        put = (generation_prompt(text, settings, self.style, lm.tokenizer)[0] for text in texts)
        return [NumberedPrompt(number, text, self.style == "raw") for number, text in enumerate(put)]

    def identity(self, asked: NumberedPrompt) -> dict[str, Any]:
        """What makes a record that of the item which one of these prompts asks: the first fields of an `ItemRecord`."""
        example = self.capability.examples[asked.number]
        tests = hashlib.sha256(repr((example.tests, example.setup)).encode()).hexdigest() if example.tests else ""
        return {"id": example.id, "prompt": asked.prompt, "gold": example.answer, "tests": tests}

    def asked(self, prompts: Sequence[NumberedPrompt]) -> list[Asked]:
        """The same of each prompt, as it finds a record."""
        return [ItemRecord(**self.identity(one)).asked for one in prompts]


def read_set(wanted: EvalSet, style: Style = "raw") -> Items:
    """The items of a set that can be scored.

    Raises:
        InputError: nothing of that name, no item in the split, or a scorer that fits none of them.
    """
    found = find_capability(wanted.capability, Path(wanted.data) if wanted.data else None, wanted.split)
    found = found.limited(wanted.limit)
    unfit = frozenset(scorer_fits(found.settings, found.examples))
    if wanted.samples > 1 and found.settings.scorer == "nll":
        raise InputError(f"{wanted.name} is scored by likelihood, and no answer is drawn; leave samples out")
    fit = (example for example in found.examples if example.id not in unfit)
    kept = Capability(found.settings, tuple(one for example in fit for one in drawn_often(example, wanted.samples)))
    longest = answer_length(wanted, found.settings.scorer)
    drawn = wanted.drawn(longest)
    return Items(wanted.name, kept, style, longest, tuple(sorted(unfit)), wanted.samples, drawn)


def drawn_often(example: Example, samples: int) -> list[Example]:
    """An example once for each answer that is drawn to it: the first has its id, the others `ID#2`, `ID#3`, …"""
    return [example, *(example.model_copy(update={"id": f"{example.id}#{at}"}) for at in range(2, samples + 1))]


def fit_to(lm: LanguageModel, items: Items) -> Items:
    """The items without those whose likelihood this model cannot take: too long, or no token of the answer survives."""
    if items.scorer != "nll":
        return items
    settings, longest = items.capability.settings, reference_tokens(lm)
    found = {
        one.id: encode(one, settings, lm.tokenizer, items.style, "full", 10**9) for one in items.capability.examples
    }
    fits = {name for name, one in found.items() if isinstance(one, Encoded) and len(one.ids) <= longest}
    if not fits:
        raise InputError(f"{items.name}: no item has an answer within {longest} tokens; choose another set")
    kept = tuple(example for example in items.capability.examples if example.id in fits)
    unfit = tuple(sorted((*items.unfit, *(name for name in found if name not in fits))))
    return replace(items, capability=Capability(settings, kept), unfit=unfit)


def reference_tokens(lm: LanguageModel) -> int:
    """Tokens of the longest prompt and reference answer whose likelihood is taken of a model."""
    return min(_REFERENCE_TOKENS, lm.card.context)
