"""What is known of a finished adapter without loading it: its card, and where it lies. Imports no torch.

A run keeps one adapter for each arm that has finished, relative to the untouched model, in
`SPD_HOME/runs/<run>/adapters/<arm>/`: peft's own files, and `card.json`.
"""

from contextlib import suppress
from pathlib import Path

from spd_core.errors import InputError
from spd_core.recipes.distill import ARMS, ArmName, TrainSettings, short_name
from spd_core.records import Record, read_record
from spd_core.storage import child, runs_folder, to_json, write_text
from spd_core.templates import FOLDER
from spd_core.text import plain_markdown, shown

CARD = "card.json"


class AdapterCard(Record):
    """What an adapter says of itself.

    Attributes:
        run: name of the run that trained it; empty outside a run.
        base, revision, dtype: the untouched model, as `loading.load` takes it.
        rounds: how many rounds it sums up.
        rows, steps, planned: rows trained on and optimizer steps, in the last round.
        finished: false when the training was stopped before its end.
        subspace: fingerprint of the subspace that the corpus was written in; empty for raw ones.
        corpus: sha256 of the rows trained on.
        train_loss: mean of the last epoch, in nats; until December 2026 that of the last step.
        held_out_loss: in nats, at the end; None without held-out rows.
        schedule: of the learning rate; empty where earlier versions, which had the same, did not say so.
        calibrated, trained: how many different prompts its subspaces were captured from, and rows of how many were
            trained on, in all rounds; which ones is in `seen.json`. None of adapters of before December 2026.
    """

    format: int = 2
    run: str = ""
    arm: ArmName | None = None
    capability: str = ""
    base: str
    revision: str
    dtype: str
    rounds: int = 1
    rows: int
    steps: int
    planned: int
    finished: bool
    subspace: str = ""
    corpus: str = ""
    train_loss: float | None = None
    held_out_loss: float | None = None
    calibrated: int | None = None
    trained: int | None = None
    settings: TrainSettings
    schedule: str = ""
    created: str
    versions: dict[str, str]

    @property
    def ref(self) -> str:
        """Its name in lanes and links: run and arm."""
        return f"{self.run}/{self.arm}"

    @property
    def label(self) -> str:
        """What to call it: its arm in short."""
        return short_name(self.arm) if self.arm is not None else "Adapter"


def adapter_folder(ref: str) -> Path:
    """The folder of a finished adapter.

    Raises:
        InputError: a name that could lead elsewhere, or nothing is there.
    """
    run, _, arm = ref.partition("/")
    if arm not in ARMS:
        raise InputError(f"{ref!r} names no adapter; write run/arm, with one of {', '.join(ARMS)}")
    folder = child(child(runs_folder(), run) / "adapters", arm)
    if not (folder / CARD).is_file():
        raise InputError(f"no adapter {ref!r} on this machine; it was deleted, or its run has not finished")
    return folder


def read_card(folder: Path) -> AdapterCard:
    """The card of an adapter.

    Raises:
        InputError: it is missing, damaged, or of a newer format.
    """
    if not (folder / CARD).exists():
        raise InputError(f"no adapter at {folder}; train one first")
    return read_record(AdapterCard, folder / CARD, newest=2, fault="is no valid card", remedy="train again")


def is_finished(folder: Path) -> bool:
    """Whether an adapter is there whose training has ended by itself; errors as of `read_card`."""
    return (folder / CARD).is_file() and read_card(folder).finished


def write_card(card: AdapterCard, folder: Path) -> None:
    """Write an adapter's card twice: for SPD Lab, and as the model card that hubs show.

    Raises:
        StorageError: the disk refuses.
    """
    from huggingface_hub import ModelCard, ModelCardData

    write_text(folder / CARD, to_json(card.model_dump(mode="json")))
    data = ModelCardData(base_model=card.base, library_name="peft", tags=["lora", "self-policy-distillation"])
    facts = {
        "Base": f"{card.base}, revision {card.revision}, {card.dtype}",
        "Arm": ARMS[card.arm].label if card.arm is not None else "none",
        "Capability": card.capability or "none",
        "Subspace (sha256)": card.subspace or "none: written without projection",
        "Corpus (sha256)": card.corpus,
        "Trained": f"{card.rows} rows, {card.steps} of {card.planned} steps, rounds: {card.rounds}, {_rate(card)}",
    }
    plain = {name: plain_markdown(shown(value)) for name, value in facts.items()}
    written = ModelCard.from_template(data, template_path=str(FOLDER / "adapter_card.md"), facts=plain)
    write_text(folder / "README.md", f"{str(written).rstrip()}\n")


def _rate(card: AdapterCard) -> str:
    """Its learning rate in words."""
    return f"learning rate {card.settings.learning_rate:g}{f' ({card.schedule})' if card.schedule else ''}"


def finished_adapters() -> list[AdapterCard]:
    """Cards of all adapters of runs on this machine, the newest run first; damaged ones are left out."""
    cards = []
    for path in runs_folder().glob(f"[!.]*/adapters/[!.]*/{CARD}"):
        with suppress(InputError):
            cards.append(read_card(path.parent))
    return sorted(cards, key=lambda card: (card.run, card.created), reverse=True)
