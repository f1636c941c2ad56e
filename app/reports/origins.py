"""What made a capture, as names and values, and the commands that make it again."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.reports.blocks import Replay
from app.ui.widgets import counted, duration, model_name, ranges

if TYPE_CHECKING:
    from app.reports.chosen import InHand
    from spd_core.subspace.analysis import Provenance


def capture_facts(held: "InHand") -> Iterator[tuple[str, str]]:
    """Model, capability with its hash, settings, versions and seconds of the capture in hand."""
    analysis, record = held.analysis, held.analysis.provenance
    yield "Model", f"{model_name(record)}, {record.dtype} on {record.device}"
    yield "Capability", f"{record.capability}, sha256 {record.fingerprint}"
    if (made_of := record.left_out) is not None:
        yield (
            "Contrast",
            (
                f"{made_of.capability} ({made_of.capture}) without {', '.join(made_of.others)} "
                f"({', '.join(made_of.captures)}), shrinkage {made_of.shrinkage:g}"
            ),
        )
    yield (
        "Examples",
        (
            f"{counted(record.examples_used, 'example')} of {record.examples_requested:,} asked for; "
            f"{counted(record.tokens, 'token')}, {record.supervised_tokens:,} of them carry the loss"
        ),
    )
    yield "Loss", f"{record.loss}, on {record.prompt_style} prompts; mean {record.mean_loss:.3f} nats"
    yield (
        "Sites",
        (
            f"keys and values of layers {ranges(record.layers)}, {analysis.d_kv} numbers a token; "
            f"gradients {'centred' if record.center else 'not centred'}"
        ),
    )
    yield "Subspace", f"rank {held.rank} of {analysis.d_kv}"
    yield "Capture", f"{analysis.name}{', which comes with SPD Lab' if analysis.recorded else ''}"
    yield "Identity", f"sha256 {analysis.identity}"
    if record.seconds is not None:
        yield "Time", f"captured in {duration(record.seconds)}, batch size {record.batch_size}"
    yield "Versions", ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
    yield "Command", record.command


def capture_command(record: "Provenance") -> str:
    """The line that captures the same gradients again; of a capability that is found by its name."""
    revision = record.revision if record.model.count("/") == 1 and ":" not in record.revision else ""
    words = ["python", "-m", "spd_core", "capture", "--capability", record.capability, "--model", record.model]
    words += ["--revision", revision] if revision else []
    words += ["--layers", ",".join(map(str, record.layers)), "--limit", str(record.examples_requested)]
    words += ["--loss", record.loss, "--prompt-style", record.prompt_style, "--dtype", record.dtype]
    words += [] if record.center else ["--no-center"]
    return shlex.join(words)


def capture_replays(held: "InHand") -> Iterator[Replay]:
    """How to capture it anew, and how to open what was captured."""
    record = held.analysis.provenance
    if record.left_out is None:
        yield Replay("Capture the gradients again, from a shell", capture_command(record))
    else:
        made_of = record.left_out
        words = ["python", "-m", "spd_core", "contrast", "--of", made_of.capture]
        words += [word for name in made_of.captures for word in ("--without", name)]
        words += ["--shrinkage", f"{made_of.shrinkage:g}"]
        yield Replay("Make the contrast again, from a shell", shlex.join(words))
    yield Replay("Open it in Python: the numbers of the spectrum", spectrum_program(held))


def spectrum_program(held: "InHand") -> str:
    """A program that says the spectrum's sentence and its leading singular values again."""
    at = held.at
    return (
        "from spd_core import open_capture\n"
        "from spd_core.subspace.verdict import spectrum_verdict\n\n"
        f"capture = open_capture({held.analysis.name!r})\n"
        f"print(spectrum_verdict(capture, {at.layer}, {at.kind!r}, {held.rank}))\n"
        f"print(capture.sites[capture.site({at.layer}, {at.kind!r})].values[:10])"
    )
