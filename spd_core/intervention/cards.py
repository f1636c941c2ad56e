"""What is known of a finished adapter without loading it: its card, and where it lies. Imports no torch.

A run keeps one adapter for each arm that has finished, relative to the untouched model, in
`SPD_HOME/runs/<run>/adapters/<arm>/`: peft's own files, `card.json`, `seen.json`, `recipe.json`, and a README for hubs.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from spd_core.errors import InputError
from spd_core.intervention.model_cards import readme_of_adapter
from spd_core.models.identity import public_name
from spd_core.models.terms import notices
from spd_core.recipes.distill import ARMS, ArmName, TrainSettings, short_name
from spd_core.records import Record, read_record
from spd_core.storage import child, runs_folder, to_json, write_text

CARD, RECIPE = "card.json", "recipe.json"


class TrainingData(Record):
    """Which examples an adapter's corpus came from.

    Attributes:
        name: the capability's own, whatever file it was read from.
        split: whose prompts were written on; `prompts` of them, the last `held_out` of which were only scored.
        fingerprint: sha256 of the capability's settings and those examples.
        calibration: the same of the `examples` that its subspace was captured from; empty for arms without one.
    """

    name: str
    split: str
    prompts: int
    held_out: int = 0
    fingerprint: str
    examples: int = 0
    calibration: str = ""


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
        writer: the engine that wrote them, or the teacher's text, in words; empty where SPD Lab wrote it itself.
        rollouts: who wrote the student's own text in training, in words; empty where no engine was asked for.
        train_loss: mean of the last epoch, in nats; until December 2026 that of the last step.
        held_out_loss: in nats, at the end; None without held-out rows.
        schedule: of the learning rate; empty where earlier versions, which had the same, did not say so.
        calibrated, trained: how many different prompts its subspaces were captured from, and rows of how many were
            trained on, in all rounds; which ones is in `seen.json`. None of adapters of before December 2026.
        written, taught: new tokens that it wrote to learn from, in all rounds: its corpora, or its rollouts; and what
            its teacher wrote beside them, as the student's tokenizer cuts it. None of adapters of before December 2026,
            and `taught` of arms whose teacher writes nothing.
        data: where its prompts are from; None likewise, and outside a run.
        command: what trains it again: the recipe lies beside the card.
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
    writer: str = ""
    rollouts: str = ""
    train_loss: float | None = None
    held_out_loss: float | None = None
    calibrated: int | None = None
    trained: int | None = None
    written: int | None = None
    taught: int | None = None
    data: TrainingData | None = None
    command: str = ""
    settings: TrainSettings
    schedule: str = ""
    created: str
    versions: dict[str, str]

    @property
    def ref(self) -> str:
        """Its name in lanes and links: run and arm."""
        return f"{self.run}/{self.arm}"

    @property
    def capability_name(self) -> str:
        """The capability's own name, or the file's: never where on this machine it lies."""
        return self.data.name if self.data is not None else Path(self.capability).stem

    def portable(self) -> "AdapterCard":
        """The same without a path of this machine: the base and the capability by their names."""
        base = public_name(self.base, self.revision)
        return self.model_copy(update={"base": base, "capability": self.capability_name})

    @property
    def label(self) -> str:
        """What to call it: its arm in short."""
        return short_name(self.arm) if self.arm is not None else "Adapter"


def in_all_rounds(cards: Sequence[AdapterCard]) -> dict[str, int | None]:
    """What the cards of several rounds come to together, by the names of their fields; None where one does not say."""
    counts = {name: [getattr(card, name) for card in cards] for name in ("rounds", "written", "taught")}
    return {name: None if None in each else sum(each) for name, each in counts.items()}


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
        raise InputError(
            f"no adapter {ref!r} on this machine; it was deleted, its run has not finished, or it was recorded without "
            "its weights"
        )
    return folder


def adapter_place(where: str) -> Path:
    """The folder of an adapter as the command line names it: by its folder, or by its `run/arm`; errors likewise."""
    folder = Path(where).expanduser()
    return folder if (folder / CARD).is_file() else adapter_folder(where)


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
    """Write an adapter's card twice: for SPD Lab, and as the model card that hubs show (see `model_cards.py`).

    Raises:
        StorageError: the disk refuses.
    """
    write_text(folder / CARD, to_json(card.model_dump(mode="json")))
    write_text(folder / "README.md", readme_of_adapter(card))


def portable_files(folder: Path) -> dict[str, bytes]:
    """The files of an adapter as they may leave this machine: no path of it stands in any of them.

    Raises:
        InputError: the card is missing or damaged.
    """
    card = read_card(folder).portable()
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    told = {name: text.encode() for name, text in notices(card.base).items()}
    return {**files, **told, CARD: to_json(card.model_dump(mode="json")).encode()}


def finished_adapters() -> list[AdapterCard]:
    """Cards of all adapters of runs on this machine, the newest run first; damaged ones are left out."""
    cards = []
    for path in runs_folder().glob(f"[!.]*/adapters/[!.]*/{CARD}"):
        with suppress(InputError):
            cards.append(read_card(path.parent))
    return sorted(cards, key=lambda card: (card.run, card.created), reverse=True)
