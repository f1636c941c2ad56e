"""Carries out an evaluation in a run's folder: trains the arms it names, makes its subjects, fills cell by cell.

Whatever is there is kept: finished distillations of the same recipe, captures, and every item's record. What the cells
say together is in `evaluation/table.py`.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from spd_core.distill.recall import seen_by_checkpoint
from spd_core.engines.checks import who_writes
from spd_core.engines.writing import ToBeServed, engine_for
from spd_core.errors import InputError, Stopped
from spd_core.evaluation.answers import Through, unanswered
from spd_core.evaluation.arms import ArmsOf
from spd_core.evaluation.cells import Cell, is_filled, write_cell
from spd_core.evaluation.damaged import read_cells, set_aside
from spd_core.evaluation.harness_sets import evaluate_items, read_items
from spd_core.evaluation.items import Items, fit_to
from spd_core.evaluation.preflight import check
from spd_core.evaluation.report import write_reports
from spd_core.evaluation.subjects import Ready, Subjects, fingerprint
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel, load, quiet
from spd_core.models.packing import forget_packed
from spd_core.recipes.distill import ArmName
from spd_core.recipes.evaluation import EvaluationRecipe, Subject
from spd_core.recipes.lanes import RAW, Sampling
from spd_core.runs.events import AnyEvent, CellDone
from spd_core.runs.job import Outcome
from spd_core.runs.parallel import together
from spd_core.runs.telling import Telling
from spd_core.storage import clear_temporary


def carry_out_table(
    recipe: EvaluationRecipe,
    folder: Path,
    *,
    tell: Callable[[AnyEvent], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **_of_distillations: Any,
) -> Outcome:
    """Fill every cell that `folder` does not hold yet; a damaged one is set aside first.

    Under `accelerate launch` all processes call it and share the items; the first one tells and saves.

    Args:
        tell: told every event, as it happens, and of the distillations what they do and how far they are.
        stop: asked between tokens and steps; true ends it there. Called again on the same folder, it goes on.

    Raises:
        SpdError: a set, capture, adapter or checkpoint that is not there or does not fit, code that nobody allowed to
            run, or of any stage; all records that were finished before are kept.
    """
    peers = together()  # before the model is loaded: it gives each process its GPU
    if peers.count > 1 and not recipe.writer.here:
        raise InputError(f"{peers.count} processes, and an engine that answers many items at a time; start one alone")
    work = _Work(recipe, folder, listener=tell if peers.first else None, stop=stop)
    try:
        peers.all_done(work.check)
        peers.from_first(lambda: clear_temporary(folder / "engines"))  # a checkpoint that a killed process has left
        peers.from_first(lambda: set_aside(folder, read_cells(recipe, folder)[1]))
        work.fill()
    except Stopped:
        return "stopped"
    peers.from_first(lambda: write_reports(recipe, folder))
    return "done"


@dataclass
class _Work(Telling):
    """What the parts of one evaluation share; it is at one cell at a time."""

    recipe: EvaluationRecipe
    folder: Path
    sets: list[Items] = field(default_factory=list)
    writers: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Read the sets, and look for everything that subjects name: what is wrong is told before hours of work."""
        check(self.recipe)
        self.sets = [read_items(wanted, self.recipe.prompt_style) for wanted in self.recipe.sets]

    # --- cells -------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Every cell that is missing: of subjects of the base model first, then of checkpoints, each by itself."""
        cells = [(subject, seed) for subject in self.recipe.subjects for seed in self.recipe.seeds_of(subject)]
        missing = together().from_first(
            lambda: [
                (subject, seed)
                for subject, seed in cells
                if any(self._is_missing(subject, seed, items) for items in self.sets)
            ]
        )
        runs = ArmsOf(self.recipe, f"arms of {self.folder.name}", self.listener, self.stop).trained(missing)
        own = [(subject, seed) for subject, seed in missing if subject.kind != "checkpoint"]
        if own:
            self._fill_own(own, runs)
        for subject, seed in missing:
            if subject.kind == "checkpoint":
                self._fill_checkpoint(subject, seed)

    def _is_missing(self, subject: Subject, seed: int, items: Items) -> bool:
        """Whether a cell is not there, or of items that were edited since: it would be paired with others' answers."""
        about = items.about("", self.writer(subject))
        return not is_filled(self.folder, subject.name, seed, items.name, items.capability.fingerprint, about)

    def writer(self, subject: Subject) -> str:
        """Who answers for a subject, as its records say; asked once."""
        if subject.name not in self.writers:
            self.writers[subject.name] = who_writes(self.recipe.writer, subject.name, subject.kind != "base")
        return self.writers[subject.name]

    def _fill_checkpoint(self, subject: Subject, seed: int) -> None:
        """By itself, so that its model is gone when the next one is loaded."""
        forget_packed()
        gc.collect()
        lm, lane = self._loaded(subject.model, None, subject.name), Lane(name=subject.title)
        self._fill_cells(lm, subject, seed, Ready(RAW, lane, fingerprint(lm, lane), seen=seen_by_checkpoint(lm.name)))

    def _loaded(self, name: str, revision: str | None, arm: str = "") -> LanguageModel:
        """A model in this process, also where an engine answers: subspaces and adapters are folded into its weights,
        records are told apart by them, its tokenizer makes the requests, and it is what an engine is compared with."""
        self.begin("load", arm)
        quiet()
        longest = max(items.max_new_tokens for items in self.sets)
        return load(
            name, revision, self.recipe.dtype, purpose="generation", rows=self.recipe.batch_size, new_tokens=longest
        )

    def _fill_own(self, wanted: list[tuple[Subject, int]], trained: dict[tuple[ArmName, int], str]) -> None:
        lm = self._loaded(self.recipe.model, self.recipe.revision)
        subjects = Subjects(
            lm,
            self.recipe,
            self.folder,
            trained,
            capturing=partial(self.begin, "capture"),
            tell=partial(self.capturing, "capture"),
            stop=self.stop,
        )
        ready = [(subject, seed, subjects.ready(subject, seed)) for subject, seed in wanted]  # refuses before it asks
        for subject, seed, made in ready:
            self._fill_cells(lm, subject, seed, made)

    def _fill_cells(self, lm: LanguageModel, subject: Subject, seed: int, ready: Ready) -> None:
        names = together().from_first(lambda: [one.name for one in self.sets if self._is_missing(subject, seed, one)])
        missing = [one for one in self.sets if one.name in names]
        with self._engine(lm, subject, ready, missing) as through:
            for items in missing:
                self._fill_cell(lm, subject, seed, ready, items, through)

    @contextmanager
    def _engine(
        self, lm: LanguageModel, subject: Subject, ready: Ready, missing: list[Items]
    ) -> Iterator[Through | None]:
        """What answers for a subject; None where SPD Lab does itself, or where every answer is there already."""
        writer, who = self.recipe.writer, self.writer(subject)
        abouts = [] if writer.here else [items.about(ready.fingerprint, who) for items in missing]
        prompts = [one for items, about in zip(missing, abouts, strict=False) for one in unanswered(lm, items, about)]
        if not prompts:
            yield None
            return
        self.begin("load", subject.name)
        longest = Sampling(temperature=0.0, max_new_tokens=max(items.max_new_tokens for items in missing))
        wanted = ToBeServed(subject.name, lm, ready.lane, subject.kind != "base", self.folder / "engines")
        with engine_for(writer, wanted, prompts, longest, self.stop) as found:
            yield Through(*found)

    def _fill_cell(
        self, lm: LanguageModel, subject: Subject, seed: int, ready: Ready, items: Items, through: Through | None
    ) -> None:
        self.begin("evaluate", subject.name, self.recipe.seeds.index(seed) + 1, items.name)
        peers, fitting = together(), fit_to(lm, items)
        found = evaluate_items(
            lm,
            ready.lane,
            fitting,
            ready.fingerprint,
            batch_size=self.recipe.batch_size,
            stop=self.stop,
            tell=partial(self.progress, "evaluate"),
            writer=self.writer(subject),
            through=through,
            peers=peers,
        )
        if not found.whole:
            raise Stopped("stopped on request")
        examples = fitting.capability.examples[:: fitting.samples]
        seen = None if ready.seen is None else ready.seen.marks(example.prompt for example in examples)
        cell = Cell(
            subject=subject.name,
            seed=seed,
            adapter=ready.spec.adapter,
            capture=ready.capture,
            subspace=ready.subspace,
            set=items.name,
            title=items.capability.settings.title or items.name,
            about=items.about(ready.fingerprint, self.writer(subject)),
            written=None if through is None else through.written,
            model=lm.name,
            revision=lm.revision,
            dtype=str(lm.dtype).removeprefix("torch."),
            unfit=len(fitting.unfit),
            seen=None if seen is None else sum(seen),
            seen_items=tuple(one.id for one, known in zip(examples, seen or [], strict=False) if known),
            tokens=found.tokens,
            reused=found.reused,
            chance=items.chance,
            seconds=self.seconds,
            fingerprint=items.capability.fingerprint,
            created=datetime.now().isoformat(timespec="seconds"),
        )
        peers.from_first(lambda: write_cell(self.folder, cell, found.records))
        value = sum(record.value for record in found.records) / len(found.records)
        self.tell(
            CellDone,
            n=len(found.records),
            value=value,
            reused=found.reused,
            tokens=found.tokens,
            seconds=cell.seconds,
        )
