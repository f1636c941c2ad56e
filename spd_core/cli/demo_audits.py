"""Records a small training by OmniOPD, whose audits Fine-tune shows before anything is trained."""

from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from spd_core.data.capability import read_builtin
from spd_core.data.spans import generation_prompt
from spd_core.distill.audits import AUDITS, read_audits
from spd_core.distill.on_policy import Learning, train_on_policy
from spd_core.distill.recorded_audits import RecordedSettings, RecordedTraining, save_recorded_training
from spd_core.distill.rollouts import AskedRow
from spd_core.distill.teachers import SelfTeacher
from spd_core.distill.watch import TrainNews
from spd_core.intervention.adapters import adapter_at
from spd_core.intervention.lanes import make_lane, subspace_for
from spd_core.models.loading import LanguageModel
from spd_core.progress import Progress, Tell
from spd_core.recipes.distill import TrainSettings
from spd_core.recipes.lanes import LaneSpec, Sampling
from spd_core.recipes.on_policy import ChunkSettings
from spd_core.storage import command_line, versions
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import load_capture

CAPABILITY = "arithmetic"
PROMPTS = 16
"""Of its training split: the first ones, not the nicest ones."""
SETTINGS = TrainSettings(epochs=5, learning_rate=2e-4, completions=0)
"""Ten steps, with a rate at which so few of them move something."""
CHUNKS = ChunkSettings(chunks=2, chunk_tokens=8, samples=4)
"""Shorter than the paper's, as the answers are."""
SAMPLING = Sampling(1.0, 1.0, 24)
SEED = 42


def record_audits(lm: LanguageModel, out: Path, tell: Tell) -> dict[str, str]:
    """Train on what the model writes, taught by its projected self of the recorded capture in `out`.

    Returns:
        the folder of the audits, by what they are of.

    Raises:
        InputError: the capture is not in `out`.
        StorageError: the disk refuses.
    """
    folder = out / "audits" / CAPABILITY
    save_recorded_training(audited(lm, load_capture(out / "captures" / CAPABILITY), tell), folder)
    return {f"{CAPABILITY}: audits of a training": str(folder)}


def audited(
    lm: LanguageModel, analysis: Analysis, tell: Tell, settings: TrainSettings = SETTINGS, prompts: int = PROMPTS
) -> RecordedTraining:
    """The audits of one training; the adapter that comes of it is not kept."""
    asked = read_builtin(CAPABILITY).split("train").limited(prompts)
    prompts_read = [generation_prompt(one.prompt, asked.settings, "raw", lm.tokenizer)[0] for one in asked.examples]
    rows = [
        AskedRow(at, text, True, id=one.id, sample=0, asked=one.prompt)
        for at, (one, text) in enumerate(zip(asked.examples, prompts_read, strict=True))
    ]
    lane = make_lane(LaneSpec(), "projected self", partial(subspace_for, analysis=analysis), adapter_at)
    learning = Learning(rows, SAMPLING, SEED, chunks=CHUNKS, teacher=SelfTeacher(lm, lane))
    with TemporaryDirectory() as name:
        train_on_policy(
            lm,
            learning,
            settings,
            Path(name),
            digest=analysis.identity,
            on_news=partial(_say, tell),
        )
        audits = read_audits(Path(name) / AUDITS)
    return RecordedTraining(_settings(lm, analysis, settings, prompts), tuple(audits))


def _say(tell: Tell, news: TrainNews) -> None:
    tell(Progress(news.step / news.steps, 1, "Auditing a training"))


def _settings(lm: LanguageModel, analysis: Analysis, settings: TrainSettings, prompts: int) -> RecordedSettings:
    record = analysis.provenance
    return RecordedSettings(
        capability=CAPABILITY,
        model=lm.revision,
        dtype=record.dtype,
        device=record.device,
        arm="omniopd",
        teacher=f"the projected self: the untouched model inside the subspace of {CAPABILITY}",
        prompts=prompts,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        max_new_tokens=SAMPLING.max_new_tokens,
        seed=SEED,
        chunks=CHUNKS,
        recorded=date.today().isoformat(),
        command=command_line(),
        versions=versions(),
    )
