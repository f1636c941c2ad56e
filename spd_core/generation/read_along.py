"""Reads what lanes write under another lane each, while they write: their own distributions are at hand then.

The plain form is `teacher_forcing.read_row`, which reads a text of which nothing is known any more.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spd_core.errors import Stopped
from spd_core.generation.prompt import read_ahead
from spd_core.generation.teacher_forcing import Place, places_of
from spd_core.intervention.projection import Lane, active, plan_rows
from spd_core.models.loading import LanguageModel
from spd_core.models.packing import packed_linears
from spd_core.progress import Stop, Tell, silent

PIECE = 16
"""Tokens of a row that are read at once: bounds the distributions in memory, and for how long writing waits."""


class ReadAlong:
    """The reader of one batch, all of whose rows continue the same prompt.

    Attributes:
        places: of each row, what is known of its first tokens.
        seconds: that reading took so far.
    """

    def __init__(
        self,
        lm: LanguageModel,
        prompt: Sequence[int],
        others: Sequence[Lane],
        alternatives: int,
        tell: Tell = silent,
        stop: Stop | None = None,
    ) -> None:
        """Let row i be read under `others[i]`; `tell` and `stop` are of the prompt, which is read first."""
        self.places: list[list[Place]] = [[] for _ in others]
        self.seconds = 0.0
        self._lm, self._others, self._alternatives = lm, others, alternatives
        self._rows = list(range(len(others)))  # that the cache holds
        self._cache: Any = None  # of the other lanes: all but the last token written
        self._before = {row: list(prompt)[-1:] for row in self._rows}  # that token
        self._prompt = list(prompt)
        self._steps: list[tuple[list[int], Tensor, list[int]]] = []
        self._tell, self._stop, self._stopped = tell, stop, False

    def watch(self, rows: list[int], logits: Tensor, chosen: list[int]) -> None:
        """Take one step: what the rows that go on had to choose from, `[rows, vocabulary]`, and chose."""
        if self._stopped:
            return
        self._steps.append((rows, logits, chosen))
        if len(self._steps) == PIECE:
            self.read()

    def read(self) -> None:
        """Read the steps that were taken since the last time; none any more, once the prompt was stopped."""
        started = time.monotonic()
        try:
            if self._steps:
                self._read_piece()
        except Stopped:
            self._stopped = True
        self.seconds += time.monotonic() - started

    def _read_piece(self) -> None:
        steps, self._steps = self._steps, []
        self._keep(steps[0][0])
        written: dict[int, list[int]] = {row: [] for row in self._rows}
        own: dict[int, list[Tensor]] = {row: [] for row in self._rows}
        for rows, logits, chosen in steps:
            for at, row in enumerate(rows):
                written[row].append(chosen[at])
                own[row].append(logits[at])
        fed = [[*self._before[row], *written[row]][: len(steps)] for row in self._rows]
        found = self._other_logits([ids + [0] * (len(steps) - len(ids)) for ids in fed])  # [rows, steps, vocabulary]
        for at, row in enumerate(self._rows):
            both = torch.stack([torch.stack(own[row]), found[at, : len(own[row])]])
            ids = [*self._before[row], *written[row]]
            self.places[row] += places_of(self._lm.tokenizer, both, ids, self._alternatives)
            self._before[row] = written[row][-1:]

    def _keep(self, rows: list[int]) -> None:
        """Drop the rows that have ended."""
        if rows != self._rows and self._cache is not None:
            places = [self._rows.index(row) for row in rows]
            self._cache.batch_select_indices(torch.tensor(places, device=self._lm.device))
        self._rows = rows

    def _other_logits(self, ids: list[list[int]]) -> Tensor:
        """What the other lanes make of the next `ids`, one list for each row; of the first, the prompt comes before."""
        if self._cache is None:
            self._cache = self._prompt_read()
        lanes = [self._others[row] for row in self._rows]
        return _forward(self._lm, lanes, self._cache, torch.tensor(ids, device=self._lm.device), len(ids[0]))

    def _prompt_read(self) -> Any:
        """A cache of the prompt without its last token, read once by each distinct lane."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self._lm.model.config)
        distinct = {id(self._others[row]): self._others[row] for row in self._rows}
        if len(self._prompt) > 1:
            lanes, ids = list(distinct.values()), torch.tensor([self._prompt[:-1]] * len(distinct))
            ids = ids.to(self._lm.device)  # [distinct lanes, seq]
            what = "Reading the prompt as the other lanes do"
            plan = plan_rows(self._lm, lanes)
            read = read_ahead(self._lm, plan, cache, ids, what=what, tell=self._tell, stop=self._stop)
            _forward(self._lm, lanes, cache, ids[:, read:], 1)
            places = [list(distinct).index(id(self._others[row])) for row in self._rows]
            cache.batch_select_indices(torch.tensor(places, device=self._lm.device))
        return cache


def _forward(lm: LanguageModel, lanes: Sequence[Lane], cache: Any, ids: Tensor, keep: int) -> Tensor:
    plan, packed = plan_rows(lm, lanes), packed_linears(lm, len(ids))
    with lm.lock, torch.inference_mode(), active(plan), packed:
        found = lm.model(input_ids=ids, past_key_values=cache, logits_to_keep=keep)
    logits: Tensor = found.logits.float()
    return logits
