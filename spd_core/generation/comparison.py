"""What lanes have written, as a record: texts token by token, what made them, and its files.

Imports no torch, so that a saved result opens at once. How it comes about is in `generation/compare.py`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from spd_core.data.capability import BUILTIN_FOLDER
from spd_core.errors import InputError
from spd_core.recipes.lanes import Grid, LaneSpec, Sampling
from spd_core.records import Record, read_record
from spd_core.storage import child, remove_file, spd_home, write_text

FORMAT = 4
"""2 since lanes can be distilled, 3 since they are described as everywhere, 4 since directions can have gains; older
results are read as they are."""
RECORDED = BUILTIN_FOLDER.parent / "demo" / "texts"
"""Results that come with SPD Lab."""
PromptStyle: TypeAlias = Literal["raw", "chat", "exact"]
"""The capability's template, the model's chat template, or the prompt exactly as it is."""

SiteLabel: TypeAlias = Annotated[str, Field(pattern=r"^layer \d{1,6} (key|value)$")]
"""As `Site.label` has it."""


class Token(Record):
    """One written token.

    Attributes:
        text: its part of the lane's text; the parts of all tokens joined are the text.
        logprob: log-probability under the lane's own model, in nats, before temperature and top-p.
        entropy: of that distribution, in nats.
        kl: KL(own ‖ other) in nats of the whole distribution at this place; None before the lane was read.
        other_logprob: of this token under the other lane, in nats.
        top: (text, probability) of the most probable tokens in the lane itself; `other_top` in the other one.
    """

    id: int
    text: str
    logprob: float
    entropy: float
    kl: float | None = None
    other_logprob: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    other_top: tuple[tuple[str, float], ...] = ()


class AdapterFacts(Record):
    """Which fine-tuned model a distilled lane is.

    Attributes:
        ref: run and arm that trained it.
        name: of the arm, short.
        capability: that its corpus was written for.
        base, revision: the model that it was before.
        fingerprint: sha256 of the adapter.
    """

    ref: str
    name: str
    capability: str
    base: str
    revision: str
    fingerprint: str
    created: str


class LaneText(Record):
    """What one lane wrote.

    Attributes:
        label: short, and different for every lane of a comparison.
        capability: whose subspace it is; empty for raw.
        ranks: rank of each projected site, by its label; empty for raw.
        d_kv: width of a site.
        capped: sites with fewer non-zero directions than the rank asks for.
        adapter: what tuned the model; None in lanes of the untouched one.
        finish: `eos`, `length` or `stopped`.
        seconds: from the first token that was asked for to its last one.
        other: index of the lane that it was read under, besides itself; None before it was read.
    """

    label: str
    spec: LaneSpec
    capability: str = ""
    ranks: dict[SiteLabel, int] = Field(default_factory=dict)
    d_kv: int = 0
    capped: tuple[str, ...] = ()
    adapter: AdapterFacts | None = None
    tokens: tuple[Token, ...] = ()
    finish: Literal["eos", "length", "stopped"]
    seconds: float
    other: int | None = None

    @property
    def text(self) -> str:
        """The completion."""
        return "".join(token.text for token in self.tokens)

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        return [token.id for token in self.tokens]

    @property
    def mean_logprob(self) -> float:
        """Of its tokens under the lane's own model, in nats; NaN when there is none."""
        return _mean([token.logprob for token in self.tokens])

    @property
    def mean_other_logprob(self) -> float:
        """Of its tokens under the other lane, in nats; NaN before it was read."""
        return _mean([token.other_logprob for token in self.tokens if token.other_logprob is not None])

    @property
    def mean_kl(self) -> float:
        """KL(own ‖ other) averaged over its tokens, in nats; NaN before it was read."""
        return _mean([token.kl for token in self.tokens if token.kl is not None])

    def unread(self) -> "LaneText":
        """The same before it was read."""
        tokens = tuple(Token(id=t.id, text=t.text, logprob=t.logprob, entropy=t.entropy) for t in self.tokens)
        return self.model_copy(update={"tokens": tokens, "other": None})


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


class WrittenRecord(Record):
    """What every record of written texts says of where they come from.

    Attributes:
        id: name of its file, and link.
        created: local time, ISO 8601.
        analysis: name of the analysis whose subspace the lanes project into.
        loss, fingerprint: of that analysis.
    """

    format: int
    id: str
    created: str
    model: str
    revision: str
    dtype: str
    device: str
    analysis: str
    capability: str
    fingerprint: str
    loss: str
    prompt_style: PromptStyle

    @property
    def origin(self) -> dict[str, Any]:
        """All of it but the name and the format, for another record of the same texts."""
        return {name: getattr(self, name) for name in WrittenRecord.model_fields if name not in ("format", "id")}


class Comparison(WrittenRecord):
    """Several lanes' completions of one prompt.

    Attributes:
        prompt: as the user gave it.
        read: the exact text that the model continued.
        special_tokens: the tokenizer added its default special tokens.
        prompt_tokens: length of `read_comparison` in tokens.
        answer: the correct one, where the prompt is an example's.
        seconds: of writing; `reading_seconds` of reading the texts under each other's lanes.
        grid: the lanes are the cells of a sweep.
    """

    format: int = FORMAT
    prompt: str
    read: str
    special_tokens: bool
    prompt_tokens: int
    answer: str | None = None
    sampling: Sampling
    lanes: tuple[LaneText, ...] = Field(min_length=1)
    seconds: float
    reading_seconds: float = 0.0
    grid: Grid | None = None
    versions: dict[str, str]

    @model_validator(mode="after")
    def _fits(self) -> "Comparison":
        grid = self.grid
        if grid is not None and len(self.lanes) != 1 + len(grid.ranks) * len(grid.strengths):
            raise ValueError(f"{len(self.lanes)} lanes do not fill the grid")
        if any(lane.other is not None and not 0 <= lane.other < len(self.lanes) for lane in self.lanes):
            raise ValueError("a lane was read under one that is not there")
        return self

    def cell(self, lane: int) -> "Comparison":
        """Raw and one cell of a sweep, as a comparison of two lanes; what raw was read under, if it is not this cell,
        is left out.
        """
        raw, chosen = self.lanes[0], self.lanes[lane]
        raw = raw.model_copy(update={"other": 1}) if raw.other == lane else raw.unread()
        return self.model_copy(update={"lanes": (raw, chosen), "grid": None})

    @property
    def is_read(self) -> bool:
        """Whether every lane's text was read under the other lane."""
        return all(lane.other is not None for lane in self.lanes)

    @property
    def recorded(self) -> bool:
        """Whether it comes with SPD Lab."""
        return (RECORDED / f"{self.id}.json").is_file()


# --- files ---------------------------------------------------------------------------------------------------


def texts_folder() -> Path:
    """Where results are saved."""
    return spd_home() / "texts"


def comparison_json(comparison: Comparison) -> str:
    """The record as `load_comparison` reads it."""
    return comparison.model_dump_json() + "\n"


def save_comparison(comparison: Comparison, folder: Path | None = None) -> Path:
    """Write the record as `<id>.json`, atomically.

    Raises:
        InputError: an id that could lead elsewhere.
        StorageError: the disk refuses.
    """
    path = _file(folder or texts_folder(), comparison.id)
    write_text(path, comparison_json(comparison))
    return path


def saved_ids() -> list[str]:
    """Ids that `load_comparison` knows: this machine's own, the newest first, then the recorded ones."""
    own = sorted((path.stem for path in texts_folder().glob("[!.]*.json")), reverse=True)
    return [*own, *(name for name in recorded_ids() if name not in own)]


def recorded_ids() -> list[str]:
    """Ids of the results that come with SPD Lab."""
    return sorted(path.stem for path in RECORDED.glob("*.json"))


def find_comparison(name: str) -> Path:
    """The file of a saved or recorded result.

    Raises:
        InputError: none of that id.
    """
    for folder in (texts_folder(), RECORDED):
        path = _file(folder, name)
        if path.is_file():
            return path
    raise InputError(f"no result {name!r} is saved on this machine; choose one of the history, or generate again")


def load_comparison(name: str) -> Comparison:
    """A saved or recorded result.

    Raises:
        InputError: none of that id, damaged, or of a newer format.
    """
    return read_comparison(find_comparison(name))


def read_comparison(path: Path) -> Comparison:
    """The result in a file; raises `InputError` like `load_comparison`."""
    fault, remedy = "holds no valid result", "delete it and generate again"
    found = read_record(Comparison, path, newest=FORMAT, called=path.name, fault=fault, remedy=remedy)
    if found.id != path.stem:
        raise InputError(f"{path.name} {fault} (it is the result {found.id!r:.60}, under another name); {remedy}")
    return found


def remove_comparison(name: str) -> None:
    """Delete a saved result; recorded ones stay.

    Raises:
        InputError: none of that id among the saved ones.
        StorageError: the disk refuses.
    """
    remove_file(_file(texts_folder(), name), f"no result {name!r} is saved on this machine; nothing was deleted")


def _file(folder: Path, name: str) -> Path:
    return child(folder, f"{name}.json")
