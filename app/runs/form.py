"""What the forms of Fine-tune and Evaluation share: a widget for every setting, and settings as files."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin

import streamlit as st

from app.ui.widgets import failure
from spd_core.data.capability import builtin_names
from spd_core.data.catalog import saved_capabilities
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.distill import CorpusSettings, TrainSettings, short_name
from spd_core.recipes.on_policy import ChunkSettings, RolloutSettings
from spd_core.recipes.presets import differing, settings_in
from spd_core.records import Record


@dataclass(frozen=True)
class FilledForm:
    """A form that is filled from presets, files and earlier runs; each time with new widgets, which take the values.

    Attributes:
        settings_key: session key of what it was filled with.
        times_key: session key of how often it was filled.
        widgets: what the keys of its widgets begin with.
    """

    settings_key: str
    times_key: str
    widgets: str

    def fill(self, recipe: Record) -> None:
        """Show these settings from now on."""
        state = st.session_state
        state[self.settings_key] = recipe.model_dump(mode="json")
        state[self.times_key] = state.get(self.times_key, 0) + 1

    @property
    def settings(self) -> dict[str, Any] | None:
        """What it was filled with; None before the first time."""
        return cast("dict[str, Any] | None", st.session_state.get(self.settings_key))

    def key(self, name: str) -> str:
        """The key of a widget."""
        return f"{self.widgets}_{st.session_state.get(self.times_key, 0)}_{name}"


@dataclass(frozen=True)
class FieldLabel:
    """What a field is called, and what to know about it."""

    text: str
    help: str = ""


_CAPTURE = {
    "layers": FieldLabel("Target layers", "middle, last, all, or indices from 0 such as 3,7. The paper: middle,last."),
    "rank": FieldLabel("Rank", "half (of d_kv, the paper), energy:0.95, or a number of directions."),
    "loss": FieldLabel(
        "Loss on", "aligned: the tokens that decide whether the answer is correct; full: all of the answer."
    ),
    "examples": FieldLabel("Calibration examples", "Only the first N; empty takes all. The paper uses 50."),
    "batch_size": FieldLabel("Examples at once", "Speed and memory, never the result."),
    "center": FieldLabel("Centre the gradients", "Subtract the mean gradient before the decomposition."),
    "strength": FieldLabel("Strength α", "0 leaves keys and values alone, 1 is the paper's hard projection."),
}
_CORPUS = {
    "split": FieldLabel("Prompts from", "train: examples that the subspace was not captured from."),
    "prompts": FieldLabel("Prompts", "Only the first N of the split; empty takes all."),
    "held_out": FieldLabel(
        "Held-out prompts", "The last of them: what is written on them is scored, never trained on."
    ),
    "prompt_style": FieldLabel("Prompt format", "raw: the capability's template; chat: the model's chat template."),
    "samples": FieldLabel("Completions per prompt"),
    "max_new_tokens": FieldLabel("Max new tokens", "Of each completion. The paper: 256."),
    "batch_size": FieldLabel("Rows at once", "Speed and memory of writing."),
    "temperature": FieldLabel(
        "Temperature", "Empty: each arm its own (0.7; Apple's 1.6). A number holds for all arms."
    ),
    "top_p": FieldLabel("Top-p", "Empty: each arm its own (PSR 1.0, others 0.9). A number holds for all arms."),
    "top_k": FieldLabel("Top-k", "Empty: each arm its own (Apple's 20, others none). 0 is none."),
    "drop": FieldLabel("Left out of training", "Rows with these faults; how many is reported."),
}
_TRAIN = {
    "lora_r": FieldLabel("LoRA rank r", "The paper: 8."),
    "lora_alpha": FieldLabel("LoRA alpha", "The adapter's output is scaled by alpha ÷ r."),
    "lora_dropout": FieldLabel("LoRA dropout"),
    "lora_targets": FieldLabel(
        "LoRA on", "Maps of every layer's attention: queries, keys, values, output. The paper: all."
    ),
    "learning_rate": FieldLabel("Learning rate", "The paper: 1e-5; a small model on few rows needs more."),
    "weight_decay": FieldLabel("Weight decay"),
    "epochs": FieldLabel("Epochs"),
    "batch_size": FieldLabel("Rows in a step"),
    "loss_on": FieldLabel("Loss on", "Padding only as a control: it teaches the model to stop."),
    "patience": FieldLabel("Stop early after", "So many epochs without a lower held-out loss; 0 trains on."),
    "completions": FieldLabel("Completions to look at", "Written after each epoch; they change nothing."),
    "seed": FieldLabel("Seed of the training"),
    "log_to": FieldLabel(
        "Also log to", "Event files in the run's folder, to look at with tensorboard --logdir; they change nothing."
    ),
}
_ROLLOUT = {
    "temperature": FieldLabel("Temperature of the student", "Of what it writes in training. The paper: 1."),
    "top_p": FieldLabel("Top-p of the student"),
    "divergence": FieldLabel(
        "Divergence of on-policy SPD",
        "0: KL(teacher ‖ student), 1: KL(student ‖ teacher), between them Jensen's.",
    ),
    "max_tokens": FieldLabel(
        "End after tokens",
        "That an arm and its teacher have written, to compare arms at equal cost; empty trains all epochs.",
    ),
}
_CHUNKS = {
    "chunk_tokens": FieldLabel("Tokens of a chunk", "C. The paper: 50; with 25 it reports 24.48 instead of 69.08."),
    "chunks": FieldLabel("Chunks of a rollout, at most", "M. The paper: 10."),
    "samples": FieldLabel("Continuations of a chunk", "N, written by the teacher. The paper: 10."),
    "prior": FieldLabel(
        "Prior α", "Weight of what the student itself believes. The paper: 1; 67.52 with 0.1, 60.77 with 5."
    ),
    "anchor": FieldLabel(
        "Anchor β", "Keeps all other tokens at the untouched model. The paper reports 8.28 without it, not its value."
    ),
    "select": FieldLabel("Chunks start", "At the peaks of the student's entropy, or anywhere: 68.45 in the paper."),
    "temperature": FieldLabel("Temperature of the teacher", "Not published."),
    "top_p": FieldLabel("Top-p of the teacher", "Not published."),
    "divide_by": FieldLabel("Loss divided by", "The step's tokens, or its rows; the learning rate depends on it."),
    "teacher": FieldLabel(
        "Another model as the teacher", "A Hugging Face id or a local folder, of any tokenizer; for that arm alone."
    ),
    "accept_short": FieldLabel(
        "Train on short rollouts, too", "Even if more than half are shorter than a chunk, and teach nothing at first."
    ),
}
SETTING_GROUPS: tuple[tuple[str, type[Record], Mapping[str, FieldLabel]], ...] = (
    ("capture", CaptureSettings, _CAPTURE),
    ("corpus", CorpusSettings, _CORPUS),
    ("train", TrainSettings, _TRAIN),
)
"""The settings that a recipe and an evaluation share."""


def setting_widgets(
    kind: type[Record], labels: Mapping[str, FieldLabel], base: Mapping[str, Any], key: str
) -> dict[str, Any]:
    """A widget for every field that has a label, three in a row; their keys begin with `key`."""
    found: dict[str, Any] = {}
    for at, (name, label) in enumerate(labels.items()):
        if at % 3 == 0:
            columns = st.columns(3, gap="medium", vertical_alignment="bottom")
        with columns[at % 3]:
            found[name] = _field(kind.model_fields[name].annotation, label, base[name], f"{key}_{name}")
    return found


def own_text_widgets(base: Mapping[str, Any], key: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """Widgets for the arms that learn on what they write in training."""
    rollout = setting_widgets(RolloutSettings, _ROLLOUT, base["rollout"], key("rollout"))
    chunks = setting_widgets(ChunkSettings, _CHUNKS, base["omniopd"], key("omniopd"))
    before = base["omniopd"]["server"]
    left, right, _ = st.columns(3, gap="medium")
    url = left.text_input(
        "Or a server of the teacher",
        before["url"],
        key=key("teacher_url"),
        persist_state="session",
        placeholder="http://127.0.0.1:8000/v1",
        help="Any that offers /v1/completions. A key is read from SPD_WRITER_KEY alone.",
    )
    served = right.text_input(
        "Its model", before["served_name"], key=key("teacher_served"), persist_state="session",
        help="What the server calls it.",
    )  # fmt: skip
    if url:
        chunks["server"] = {**before, "kind": "openai", "url": url.strip(), "served_name": (served or "").strip()}
    return {"rollout": rollout, "omniopd": chunks}


def _field(annotation: Any, label: FieldLabel, value: Any, key: str) -> Any:
    """The widget that suits a field's type."""
    common: dict[str, Any] = {"key": key, "persist_state": "session", "help": label.help or None}
    optional = NoneType in get_args(annotation)
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType] if optional else [annotation]
    kind = kinds[0]
    if kind is bool:
        return st.toggle(label.text, value, **common)
    if kind is int:
        return st.number_input(label.text, value=value, step=1, min_value=0, **common)
    if kind is float:
        return st.number_input(label.text, value=value, min_value=0.0, step=0.05, format="%.6g", **common)
    if get_origin(kind) is Literal:
        options = get_args(kind)
        return st.selectbox(label.text, options, options.index(value), **common)
    if get_origin(kind) is tuple:
        return st.multiselect(label.text, get_args(get_args(kind)[0]), value, **common)
    text = st.text_input(label.text, value or "", **common)
    return (text or "").strip() or (None if optional else "")


def pick_without(capture: Mapping[str, Any], capability: str, key: str) -> list[str]:
    """What a contrast leaves out: at first another capability that is built in."""
    before = [name for name in capture.get("without", ()) if name != capability]
    known = dict.fromkeys((*builtin_names(), *saved_capabilities(), *PUBLIC_SETS, *before))
    names = [name for name in known if name != capability]
    return st.multiselect(
        "The contrast leaves out what these share",
        names,
        before or names[:1],
        key=key,
        persist_state="session",
        accept_new_options=True,
        help="Capabilities that are captured as well, on the same model. Directions along which their loss varies come "
        "last.",
    )


# --- files ---------------------------------------------------------------------------------------------------


def settings_file(recipe: Record) -> bytes:
    """A recipe as `distill` reads it, or an evaluation as `table` does: what differs from its preset."""
    return (json.dumps(differing(recipe), indent=2, ensure_ascii=False) + "\n").encode()


def pick_settings_file(what: str, key: str, fill: Callable[[Any], None]) -> None:
    """Take settings from a JSON file; `fill` puts what it says into the form, or raises `InputError`."""
    file = st.file_uploader(f"{what.capitalize()} as JSON", type="json", key=key)
    if file is None or not st.button("Fill the form with it", key=f"{key}_fill"):
        return
    try:
        fill(settings_in(file.getvalue().decode("utf-8")))
    except (ValueError, RecursionError) as error:
        failure(f"This file is no {what}:", f"{file.name} is not JSON ({error})")
        return
    except InputError as error:
        failure(f"This file is no {what}:", str(error))
        return
    st.rerun()


def arm_names(arms: Sequence[str]) -> str:
    """`PSR, SSD, SPD`."""
    return ", ".join(map(short_name, arms))
