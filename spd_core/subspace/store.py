"""Captures on disk: one kind of folder, written by the page, the shell and runs alike. Imports no torch.

    analysis.json  analysis.safetensors  capability.jsonl  notes.json

On this machine a capture is referred to by its name on the shelf (`SPD_HOME/captures`), or as `RUN/NAME` where a run
has made it for itself (`SPD_HOME/runs/RUN/captures/NAME`). Folders that the shell wrote before November 2026
(`subspace.json`, `subspace.safetensors`) are read, too.
"""

import dataclasses
import json
import shutil
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from spd_core.data.capability import BUILTIN_FOLDER, read_capability
from spd_core.data.spans import Encoded
from spd_core.errors import InputError
from spd_core.models.families import Site, site_from, site_record
from spd_core.records import Record, first_error, json_value, refuse_newer
from spd_core.storage import child, new_folder, runs_folder, spd_home, write_text
from spd_core.subspace import shell_folders
from spd_core.subspace.analysis import Analysis, Provenance
from spd_core.subspace.direction_notes import NOTES, writing_notes
from spd_core.subspace.site_analysis import ContrastNumbers, Coordinates, HeadSpectra, SiteAnalysis
from spd_core.subspace.spectrum import EPS, Floats

TENSORS, RECORD, EXAMPLES = "analysis.safetensors", "analysis.json", "capability.jsonl"
FORMAT = 3
"""2 since the spectra of single KV heads are kept; captures of format 1 are read as they are. 3 of contrasts alone: an
older version would take them for plain captures."""
_LENGTHS = "lengths"
"""Of single tokens; not among `tokens/…`, where older versions would refuse what they do not know."""
RECORDED = BUILTIN_FOLDER.parent / "demo" / "captures"
"""Where the captures lie that come with SPD Lab."""


def save_capture(analysis: Analysis, folder: Path, overwrite: bool = False) -> None:
    """Write a capture into a new folder, atomically; notes on directions of one that it replaces are taken along.

    Raises:
        StorageError: the folder is there and `overwrite` is false, or the disk refuses.
    """
    tensors = {
        f"{site.name}/{name}": np.ascontiguousarray(array)
        for site, found in analysis.sites.items()
        for name, array in _arrays(found).items()
    }
    record = {
        "format": 2 if analysis.provenance.left_out is None else FORMAT,
        "provenance": analysis.provenance.model_dump(mode="json"),
        "sites": [site_record(site) for site in analysis.sites],
        "examples": [dataclasses.asdict(example) for example in analysis.examples],
    }
    with writing_notes() if folder.exists() else nullcontext(), new_folder(folder, overwrite) as temporary:
        save_file(tensors, temporary / TENSORS)
        write_text(temporary / RECORD, json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n")
        write_text(temporary / EXAMPLES, analysis.capability.to_jsonl())
        if (folder / NOTES).is_file():
            shutil.copy(folder / NOTES, temporary / NOTES)


def _arrays(found: SiteAnalysis) -> dict[str, Floats]:
    """All arrays of a site by name; `null/…`, `heads/…`, `tokens/…` and `contrast/…` for the nested ones."""
    arrays = {name: getattr(found, name) for name in ("values", "vectors", "activation_energy", "band", "halves")}
    arrays |= {f"null/{name}": values for name, values in found.nulls.items()}
    for group, kind in (("tokens", found.coordinates), ("heads", found.heads), ("contrast", found.contrast)):
        if kind is not None:
            arrays |= {f"{group}/{field.name}": getattr(kind, field.name) for field in dataclasses.fields(kind)}
    if found.coordinates is not None:
        arrays[_LENGTHS] = arrays.pop(f"tokens/{_LENGTHS}")
    return {name: array for name, array in arrays.items() if array is not None}


# --- reading -------------------------------------------------------------------------------------------------


def load_capture(folder: Path, *, recorded: bool = False) -> Analysis:
    """Read a capture.

    Raises:
        InputError: a file is missing, damaged, does not fit the others, or is of a newer format.
    """
    old = (folder / shell_folders.RECORD).is_file() and not (folder / RECORD).is_file()
    try:
        analysis = shell_folders.read_shell_folder(folder) if old else _read(folder, recorded)
        _ = analysis.settings  # which its provenance may not be able to have had
    except OSError as error:
        raise InputError(f"no capture at {folder}: {error.strerror or error}; capture one first") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(
            f"{folder} holds no valid capture ({first_error(error)}); it may be cut off: capture again"
        ) from error
    _check(analysis, folder, old)
    return analysis


def _read(folder: Path, recorded: bool) -> Analysis:
    record = json_value((folder / RECORD).read_bytes())
    refuse_newer(record, FORMAT, folder.name)
    tensors = load_file(folder / TENSORS)
    sites = [site_from(site) for site in record["sites"]]
    return Analysis(
        folder.name,
        Provenance.model_validate(record["provenance"]),
        read_capability(folder / EXAMPLES),
        {site: _site_analysis(site, tensors) for site in sites},
        tuple(_example(row) for row in record["examples"]),
        recorded,
    )


def _site_analysis(site: Site, tensors: dict[str, Floats]) -> SiteAnalysis:
    own = {name.removeprefix(f"{site.name}/"): a for name, a in tensors.items() if name.startswith(f"{site.name}/")}
    tokens, heads, contrast, nulls = (
        {n.removeprefix(g): a for n, a in own.items() if n.startswith(g)}
        for g in ("tokens/", "heads/", "contrast/", "null/")
    )
    return SiteAnalysis(
        own["values"],
        own["vectors"],
        own.get("activation_energy") if contrast else own["activation_energy"],
        nulls,
        own.get("band"),
        own.get("halves"),
        Coordinates(**tokens, lengths=own.get(_LENGTHS)) if tokens else None,
        HeadSpectra(**heads) if heads else None,
        ContrastNumbers(**contrast) if contrast else None,
    )


def _example(row: dict[str, Any]) -> Encoded:
    found = _ExampleRow.model_validate(row)
    return Encoded(found.id, found.text, found.ids, found.offsets, found.supervised)


class _ExampleRow(Record):
    """An example as `analysis.json` has it."""

    id: str
    text: str
    ids: tuple[NonNegativeInt, ...]
    offsets: tuple[tuple[NonNegativeInt, NonNegativeInt], ...]
    supervised: tuple[NonNegativeInt, ...]

    @model_validator(mode="after")
    def _fits(self) -> "_ExampleRow":
        if len(self.ids) != len(self.offsets) or max(self.supervised, default=0) >= len(self.ids):
            raise ValueError("an example's tokens do not fit its text")
        if any(start > end or end > len(self.text) for start, end in self.offsets):
            raise ValueError("an example's token lies outside its text")
        return self


# --- checking ------------------------------------------------------------------------------------------------


def _check(analysis: Analysis, folder: Path, old: bool) -> None:
    """Raise `InputError` when something is empty, or shapes do not fit each other."""
    examples = analysis.examples
    if not analysis.sites or not (examples or old):
        raise InputError(f"{folder} holds no valid capture (no site or no example); capture again")
    if analysis.provenance.dtype not in EPS:
        said = f"the dtype {analysis.provenance.dtype!r:.40}, none of {', '.join(EPS)}"
        raise InputError(f"{folder} holds no valid capture ({said}); capture again")
    tokens = sum(len(example.ids) for example in examples)
    for site, found in analysis.sites.items():
        if old:
            shell_folders.check_basis(site, found, folder)
            continue
        shapes = {name: array.shape for name, array in _arrays(found).items()}
        if shapes != _shapes(found, site, tokens) or not np.isfinite(found.values).all():
            raise InputError(f"{folder}: the arrays of {site.name} do not fit {tokens} tokens of width {site.d_kv}")


def _shapes(found: SiteAnalysis, site: Site, tokens: int) -> dict[str, tuple[int, ...]]:
    """The shape that each of `_arrays` should have."""
    d, width = site.d_kv, site.d_kv // site.heads
    shapes: dict[str, tuple[int, ...]] = {"values": (d,), "vectors": (d, d)}
    shapes |= {"activation_energy": (d,)} if found.activation_energy is not None else {}
    shapes |= {f"null/{name}": (d,) for name in found.nulls}
    shapes |= {"band": (2, d)} if found.band is not None else {}
    shapes |= {"halves": (2, d, d)} if found.halves is not None else {}
    if found.contrast is not None:
        shapes |= {"contrast/ratios": (d,), "contrast/other": (d,), "contrast/plain": (2, d)}
        shapes |= {"contrast/unseen": (2, d)} if found.contrast.unseen is not None else {}
    if found.heads is not None:
        shapes |= {"heads/values": (site.heads, width), "heads/vectors": (site.heads, width, width)}
    kept = found.coordinates
    if kept is None:
        return shapes
    by_direction, by_component = (tokens, kept.gradient.size // tokens), (tokens, kept.explained.size)
    shapes |= {_LENGTHS: (2, tokens)} if kept.lengths is not None else {}
    return shapes | {
        "tokens/gradient": by_direction,
        "tokens/activation": by_direction,
        "tokens/product": (tokens,),
        "tokens/scores": by_component,
        "tokens/explained": by_component[1:],
        "tokens/axes": (by_component[1], by_direction[1]),
    }


# --- the shelf -----------------------------------------------------------------------------------------------


def captures_folder() -> Path:
    """Where captures of this machine are saved, by the page and by the shell."""
    return spd_home() / "captures"


def is_capture(folder: Path) -> bool:
    """Whether a folder holds a capture, of this version or an older one; damaged or not."""
    return any((folder / name).is_file() for name in (RECORD, shell_folders.RECORD))


def saved_captures() -> list[str]:
    """Names of the captures of this machine, the newest first."""
    stamps: dict[str, float] = {}
    for name in (shell_folders.RECORD, RECORD):
        for path in captures_folder().glob(f"[!.]*/{name}"):
            with suppress(FileNotFoundError):  # another tab deletes it at this moment
                stamps[path.parent.name] = path.stat().st_mtime
    return sorted(stamps, key=stamps.__getitem__, reverse=True)


def recorded_captures() -> list[str]:
    """Names of the captures that come with SPD Lab."""
    return sorted(path.parent.name for path in RECORDED.glob(f"*/{RECORD}"))


def place_of(name: str) -> Path:
    """Where this machine's own capture of a name, or of a reference `RUN/NAME`, is saved; there or not.

    Raises:
        InputError: a name that could lead elsewhere.
    """
    if name.count("/") != 1:
        return child(captures_folder(), name)
    run, _, own = name.partition("/")
    return child(child(child(runs_folder(), run), "captures"), own)


def reference_of(folder: Path) -> str:
    """What `open_capture` calls the capture in a folder; the whole path where it lies elsewhere."""
    place = folder.expanduser().resolve()
    run = place.parent.parent
    if place.parent.name == "captures" and run.parent == runs_folder().resolve():
        return f"{run.name}/{place.name}"
    on_shelf = place.parent in (captures_folder().resolve(), RECORDED.resolve())
    return place.name if on_shelf else str(place)


def find_capture(name: str) -> Path:
    """The folder of a saved or recorded capture, or of one in a run's folder (`RUN/NAME`).

    Raises:
        InputError: none of that name.
    """
    found = place_of(name)
    if is_capture(found):
        return found
    if "/" in name:
        raise InputError(f"no capture {name!r} is on this machine; its run was deleted, or has not come so far")
    if is_capture(RECORDED / name):
        return RECORDED / name
    raise InputError(f"no capture {name!r} is saved on this machine; choose one, or capture again")


def notes_in(folder: Path) -> Path:
    """Where the notes on directions of the capture in a folder lie; what comes with SPD Lab is not written to."""
    return spd_home() / "notes" / f"{folder.name}.json" if folder.parent == RECORDED else folder / NOTES


def changed_at(name: str) -> int:
    """When a capture that `open_capture` knows was written, in nanoseconds since the epoch.

    Raises:
        InputError: none of that name.
        FileNotFoundError: it is deleted at this moment.
    """
    folder = find_capture(name)
    return (folder / (RECORD if (folder / RECORD).is_file() else shell_folders.RECORD)).stat().st_mtime_ns


def open_capture(name: str) -> Analysis:
    """A saved or recorded capture, or one in a run's folder (`RUN/NAME`), under that name.

    Raises:
        InputError: none of that name, or damaged.
    """
    folder = find_capture(name)
    return dataclasses.replace(load_capture(folder, recorded=folder.parent == RECORDED), name=name)


def capture_at(where: str) -> Analysis:
    """A capture as the command line names it: by its folder, or by what `open_capture` calls it.

    Raises:
        InputError: neither is there, or it is damaged.
    """
    folder = capture_place(where)
    return load_capture(folder, recorded=folder.parent == RECORDED)


def capture_place(where: str) -> Path:
    """The folder that `capture_at` reads.

    Raises:
        InputError: there is none.
    """
    folder = Path(where).expanduser()
    if is_capture(folder):
        return folder
    if folder.is_dir() or where.count("/") > 1 or where.startswith(("/", ".", "~")):
        raise InputError(
            f"no capture at {folder}: it has neither {RECORD} nor {shell_folders.RECORD}; make one with capture"
        )
    return find_capture(where)
