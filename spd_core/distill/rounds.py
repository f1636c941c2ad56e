"""What one arm does in one round, in a folder: a capture, a corpus, a training, a look at the drift.

Each keeps what the folder holds already, and tells what it does. In which order they run is in `distill/pipeline.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from spd_core.data.capability import Capability
from spd_core.data.catalog import find_capability, held_out_prompts
from spd_core.data.seen import Seen
from spd_core.distill.checkpoints import ADAPTER, CHECKPOINTS, first_of_several, forget_arm, rows_digest
from spd_core.distill.corpus import CorpusRow, corpus_path, read_corpus
from spd_core.distill.looks import Marks, completions, right_answers
from spd_core.distill.memory import check_training_memory, longest_row
from spd_core.distill.origin import facts_of, files_of, seen_by_arm
from spd_core.distill.review import Divided, divide
from spd_core.distill.students import train_student
from spd_core.distill.train import train
from spd_core.distill.training import Trained
from spd_core.distill.watch import TrainNews
from spd_core.distill.write import PlannedRow, planned_rows, write_corpus, write_corpus_by
from spd_core.engines.written import writer_of_corpus
from spd_core.errors import InputError, Stopped
from spd_core.intervention.adapters import Adapter, load_adapter, saved_adapter
from spd_core.intervention.cards import AdapterCard, is_finished, read_card
from spd_core.intervention.lanes import make_lane
from spd_core.intervention.projection import Lane
from spd_core.models.loading import LanguageModel
from spd_core.models.packing import forget_packed
from spd_core.progress import Progress
from spd_core.recipes.distill import ARMS, ArmName, Recipe, Stage
from spd_core.recipes.lanes import LaneSpec, SubspaceOf, source_of
from spd_core.runs.events import AnswersScored, ArmDone, Drift, HygieneFound, Sample, TrainingLoss
from spd_core.runs.parallel import together
from spd_core.runs.telling import Telling
from spd_core.storage import remove_folder
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture_source
from spd_core.subspace.spectrum import overlap
from spd_core.subspace.store import is_capture, load_capture, save_capture
from spd_core.subspace.subspace import Subspace, subspace_of


@dataclass
class RoundWork(Telling):
    """The work of the arms and rounds of one run; it is at one of them at a time.

    Attributes:
        run: name of the run, for the adapters' cards.
        rejected: numbers of rows that nobody trains on, by corpus.
        marks: tells which answers on held-out prompts are right; None leaves them unasked.
    """

    recipe: Recipe
    folder: Path
    run: str = ""
    rejected: Mapping[str, Collection[int]] | None = None
    marks: Marks | None = None

    # --- capture -----------------------------------------------------------------------------------------------

    def subspace(self, lm: LanguageModel, kind: SubspaceOf, arm: str, round_: int, stage: Stage) -> Subspace:
        """The subspace of this round's model; in the first round all arms share it."""
        shared, place = round_ == 1, self._place(kind, arm, round_)
        if together().agreed(lambda: not is_capture(place)):  # processes come here at different times
            self.begin(stage, "" if shared else arm, round_)
            made = self._place("capability", arm, round_)
            self._capture(
                lm, kind, stage, place, load_capture(made) if kind == "contrast" and is_capture(made) else None
            )
        return subspace_of(load_capture(place), self.recipe.capture.rank)

    def _place(self, kind: SubspaceOf, arm: str, round_: int) -> Path:
        """Where a capture of a round's model lies; in the first round all arms share it."""
        name = "-".join((kind.partition(" ")[0], *(() if round_ == 1 else (arm,)), f"round-{round_}"))
        return self.folder / "captures" / name

    def _capture(self, lm: LanguageModel, kind: SubspaceOf, stage: Stage, place: Path, own: Analysis | None) -> None:
        peers = together()
        found = capture_source(
            lm,
            self.calibration,
            kind,
            self.recipe.capture,
            self.recipe.corpus.prompt_style,
            self.recipe.seed,
            name=place.name,
            tell=partial(self.capturing, stage),
            stop=self.stop,
            peers=peers,
            own=own,
        )
        peers.from_first(lambda: save_capture(found, place, overwrite=True))

    def drift(self, lm: LanguageModel, arm: str, round_: int, base: Subspace, before: Subspace) -> Subspace:
        """The capability subspace of a trained model, and how far it has turned."""
        found = self.subspace(lm, "capability", arm, round_ + 1, "drift")
        self.arm, self.round = arm, round_
        turned = {
            site.label: overlap(
                {
                    "base": base.basis[site].numpy(),
                    "now": found.basis[site].numpy(),
                    "before": before.basis[site].numpy(),
                }
            )
            for site in base.sites
        }
        self.tell(
            Drift,
            overlap={label: round(one.shared(0, 1), 6) for label, one in turned.items()},
            before={label: round(one.shared(2, 1), 6) for label, one in turned.items()},
            angles={label: tuple(np.round(one.angles[0, 1], 3).tolist()) for label, one in turned.items()},
            chance={label: float(one.chance[0, 1]) for label, one in turned.items()},
        )
        return found

    # --- corpus ------------------------------------------------------------------------------------------------

    @cached_property
    def calibration(self) -> Capability:
        """What subspaces are captured from."""
        return find_capability(self.recipe.capability).limited(self.recipe.capture.examples)

    def calibrated(self, arm: ArmName) -> tuple[Capability, ...]:
        """What an arm's subspace is captured from; of a contrast what it leaves out, too."""
        names = self.recipe.capture.without if ARMS[arm].subspace == "contrast" else ()
        others = (find_capability(name).limited(self.recipe.capture.examples) for name in names)
        return (self.calibration, *others)

    @cached_property
    def prompts(self) -> Capability:
        """What the corpus is written on."""
        wanted = self.recipe.corpus
        found = find_capability(self.recipe.capability, split=wanted.split).limited(wanted.prompts)
        if wanted.held_out >= len(found.examples):
            raise InputError(
                f"{found.name} has {len(found.examples)} {wanted.split} prompts, and {wanted.held_out} are held out; "
                "hold out fewer"
            )
        return found

    @property
    def learned(self) -> int:
        """Rows that an arm learns from which writes them in training."""
        return (len(self.prompts.examples) - self.recipe.corpus.held_out) * self.recipe.corpus.samples

    def tasks(self, lm: LanguageModel) -> list[PlannedRow]:
        """One for each prompt and sample, the same for all arms."""
        return planned_rows(lm, self.prompts, self.recipe.corpus.prompt_style, samples=self.recipe.corpus.samples)

    def lane(self, lm: LanguageModel, arm: ArmName, round_: int) -> Lane:
        """How an arm writes."""

        def subspace(spec: LaneSpec) -> Subspace:
            return self.subspace(lm, source_of(spec), arm, round_, "capture")

        return make_lane(self.recipe.lane(arm), arm, subspace, saved_adapter)

    def corpus_name(self, arm: ArmName, round_: int) -> str:
        """Arms that write in the same way share a corpus, as long as they have the same model."""
        return self.recipe.corpus_name(arm) if round_ == 1 else arm

    def corpus(self, lm: LanguageModel, arm: ArmName, round_: int) -> tuple[list[CorpusRow], Lane]:
        """All rows that an arm trains on in a round before anything is left out, and how they were written."""
        name, lane = self.corpus_name(arm, round_), self.lane(lm, arm, round_)
        tasks, path = self.tasks(lm), corpus_path(self.folder, name, round_)
        if together().agreed(lambda: not path.exists() or len(read_corpus(path)) < len(tasks)):
            self.begin("corpus", name, round_)
        rows = self._written(lm, arm, name, lane, tasks, path)
        if len(rows) < len(tasks):
            raise Stopped("stopped on request")
        return rows, lane

    def _written(
        self, lm: LanguageModel, arm: ArmName, name: str, lane: Lane, tasks: list[PlannedRow], path: Path
    ) -> list[CorpusRow]:
        """The rows of a corpus, by whom the recipe says; what is there already is only read."""
        peers, sampling, wanted = together(), self.recipe.sampling(arm), self.recipe.corpus
        tell = partial(self.progress, "corpus")
        if wanted.writer.here:
            return write_corpus(
                lm,
                tasks,
                lane,
                sampling,
                path,
                batch_size=wanted.batch_size,
                stop=self.stop,
                tell=tell,
                peers=peers,
            )
        write = partial(write_corpus_by, wanted.writer, name, lm, tasks, lane, sampling, path, self.folder / "engines")
        return peers.from_first(partial(write, tell=tell, stop=self.stop))  # many rows at a time

    def cleaned(self, rows: Sequence[CorpusRow], name: str) -> tuple[list[CorpusRow], list[CorpusRow]]:
        """Rows to train on and held-out rows, without what hygiene or a person has left out; told."""
        found = self._divided(rows, name)
        seen = {example.prompt for example in self.calibration.examples}
        self.tell(
            HygieneFound,
            kept=len(found.hygiene.kept),
            counts={**found.hygiene.counts, "rejected": len(found.rejected)},
            examples={
                reason: tuple((row.number, row.completion[:200]) for row in rows[:3])
                for reason, rows in found.hygiene.dropped.items()
            },
            calibration=sum(example.prompt in seen for example in self.prompts.examples),
        )
        return list(found.trained), list(found.held_out)

    def _divided(self, rows: Sequence[CorpusRow], name: str) -> Divided:
        prompts = {example.id: example.prompt for example in self.prompts.examples}
        rejected, held_out = (self.rejected or {}).get(name, ()), held_out_prompts(self.recipe.capability)
        return divide(rows, rejected, self.recipe.corpus, prompts, held_out)

    # --- training ----------------------------------------------------------------------------------------------

    def trained(self, lm: LanguageModel, arm: ArmName, round_: int) -> Adapter:
        """The adapter of an arm and round, trained unless it has been: on its corpus, or on what it writes."""
        folder = self.folder / "arms" / arm / f"round-{round_}"
        if round_ == 1 and self.recipe.writes(arm):
            self._forget_if_rejected(arm)
        if is_finished(folder / ADAPTER):
            if (folder / CHECKPOINTS).is_dir():  # its process was killed just before it could say so
                self._done(read_card(folder / ADAPTER), folder, 0.0)
            return load_adapter(folder / ADAPTER)
        learn = self._on_corpus if self.recipe.writes(arm) else partial(train_student, self)
        found = learn(lm, arm, round_, folder)
        if found.card.finished:
            self._done(found.card, folder, self.seconds)
        return load_adapter(found.adapter)

    def _on_corpus(self, lm: LanguageModel, arm: ArmName, round_: int, folder: Path) -> Trained:
        rows, lane = self.corpus(lm, arm, round_)
        self.begin("train", arm, round_)
        kept, held_out = self.cleaned(rows, self.corpus_name(arm, round_))
        check_training_memory(lm, longest_row(lm, rows), self.recipe.train.batch_size)
        forget_packed()
        seen = seen_by_arm(self.recipe, arm, kept, held_out, self.prompts, self.calibrated(arm))
        writer = writer_of_corpus(corpus_path(self.folder, self.corpus_name(arm, round_), round_))
        facts = self.facts(arm, lane, seen) | {
            "writer": "" if writer is None else writer.sentence,
            "written": sum(len(row.tokens) for row in rows),
        }
        return train(
            lm,
            kept,
            self.recipe.train,
            folder,
            held_out=held_out,
            facts=facts,
            beside=files_of(self.recipe, arm, seen),
            on_news=self.on_news,
            on_epoch=lambda news: self.look(lm, news),
            stop=self.stop,
            unmarked=not (self.rejected or {}).get(self.corpus_name(arm, round_)),
        )

    def facts(self, arm: ArmName, lane: Lane, seen: Seen) -> dict[str, Any]:
        """What the card of an arm's adapter says of where it comes from."""
        return {
            **facts_of(self.recipe, arm, seen, self.prompts, self.calibration),
            "run": self.run,
            "subspace": lane.subspace.fingerprint if lane.subspace is not None else "",
        }

    def _done(self, card: AdapterCard, folder: Path, seconds: float) -> None:
        """Tell that an arm is trained; only a training that shall go on needs its checkpoints."""
        self.tell(ArmDone, steps=card.steps, planned=card.planned, rows=card.rows, seconds=seconds)
        if together().first and (folder / CHECKPOINTS).is_dir():
            remove_folder(folder / CHECKPOINTS)

    def _forget_if_rejected(self, arm: ArmName) -> None:
        """An arm of several rounds starts again when its first one was trained on rows that are rejected now."""
        name, first = self.corpus_name(arm, 1), first_of_several(self.folder, arm, self.recipe.rounds)
        together().wait()  # all have looked
        if (self.rejected or {}).get(name) and first is not None:
            rows = self._divided(read_corpus(corpus_path(self.folder, name, 1)), name).trained
            if first.corpus != rows_digest(rows) and together().first:
                forget_arm(self.folder, arm)
        together().wait()

    def on_news(self, news: TrainNews) -> None:
        """Tell how a training stands."""
        told = {name: value for name, value in asdict(news).items() if name != "tokens"}
        self.tell(TrainingLoss, **told | {"epoch": round(news.epoch, 4)})
        if news.loss is not None:
            self.progress("train", Progress(news.step, news.steps, tokens=news.tokens))

    def look(self, lm: LanguageModel, news: TrainNews) -> None:
        """Tell what the model in training writes, and how many held-out prompts it answers rightly."""
        tasks, at = self.tasks(lm), {"step": news.step, "epoch": round(news.epoch, 4)}
        for prompt, completion in completions(lm, self.recipe, tasks):
            self.tell(Sample, **at, prompt=prompt, completion=completion)
        right = (
            None if self.marks is None else right_answers(lm, self.recipe, self.prompts, tasks, self.marks, self.stop)
        )
        if right is not None:
            self.tell(AnswersScored, **at, right=sum(right), n=len(right))
