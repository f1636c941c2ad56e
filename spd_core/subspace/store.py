"""Saves an analysis as a folder of arrays and JSON, reads it back, and knows where captures lie. Imports no torch."""

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from spd_core.data.capability import BUILTIN_FOLDER, read_capability
from spd_core.data.spans import Encoded
from spd_core.errors import InputError
from spd_core.models.families import Site
from spd_core.storage import child, new_folder, spd_home, write_text
from spd_core.subspace.analysis import Analysis, Coordinates, Floats, Provenance, SiteAnalysis, site_from, site_record

TENSORS, RECORD, EXAMPLES = "analysis.safetensors", "analysis.json", "capability.jsonl"
FORMAT = 1
RECORDED = BUILTIN_FOLDER.parent / "demo" / "captures"
"""Where the captures lie that come with SPD Lab."""


def save_analysis(analysis: Analysis, folder: Path, overwrite: bool = False) -> None:
    """Write `analysis.safetensors`, `analysis.json` and `capability.jsonl` into a new folder, atomically.

    Raises:
        StorageError: the folder is there and `overwrite` is false, or the disk refuses.
    """
    tensors = {
        f"{site.name}/{name}": np.ascontiguousarray(array)
        for site, found in analysis.sites.items()
        for name, array in _arrays(found).items()
    }
    record = {
        "format": FORMAT,
        "provenance": analysis.provenance.model_dump(mode="json"),
        "sites": [site_record(site) for site in analysis.sites],
        "examples": [dataclasses.asdict(example) for example in analysis.examples],
    }
    with new_folder(folder, overwrite) as temporary:
        save_file(tensors, temporary / TENSORS)
        write_text(temporary / RECORD, json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n")
        write_text(temporary / EXAMPLES, analysis.capability.to_jsonl())


def _arrays(found: SiteAnalysis) -> dict[str, Floats]:
    """All arrays of a site by name; `null/…` and `tokens/…` for the nested ones."""
    arrays = {name: getattr(found, name) for name in ("values", "vectors", "activation_energy", "band", "halves")}
    arrays |= {f"null/{name}": values for name, values in found.nulls.items()}
    if found.coordinates is not None:
        arrays |= {f"tokens/{f.name}": getattr(found.coordinates, f.name) for f in dataclasses.fields(Coordinates)}
    return {name: array for name, array in arrays.items() if array is not None}


def load_analysis(folder: Path, *, recorded: bool = False) -> Analysis:
    """Read a saved analysis.

    Raises:
        InputError: a file is missing, damaged, does not fit the others, or is of a newer format.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        if record["format"] > FORMAT:
            raise InputError(
                f"{folder.name} was written by a newer SPD Lab (format {record['format']}); update this one"
            )
        tensors = load_file(folder / TENSORS)
        sites = [site_from(site) for site in record["sites"]]
        analysis = Analysis(
            folder.name,
            Provenance.model_validate(record["provenance"]),
            read_capability(folder / EXAMPLES),
            {site: _site_analysis(site, tensors) for site in sites},
            tuple(_example(row) for row in record["examples"]),
            recorded,
        )
    except OSError as error:
        raise InputError(f"no capture at {folder}: {error.strerror or error}; capture one first") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, ValidationError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder} holds no valid capture ({reason}); it may be cut off: capture again") from error
    _check(analysis, folder)
    return analysis


def _site_analysis(site: Site, tensors: dict[str, Floats]) -> SiteAnalysis:
    own = {name.removeprefix(f"{site.name}/"): a for name, a in tensors.items() if name.startswith(f"{site.name}/")}
    nulls = {name.removeprefix("null/"): array for name, array in own.items() if name.startswith("null/")}
    kept = None
    if "tokens/gradient" in own:
        kept = Coordinates(**{f.name: own[f"tokens/{f.name}"] for f in dataclasses.fields(Coordinates)})
    return SiteAnalysis(
        own["values"], own["vectors"], own["activation_energy"], nulls, own.get("band"), own.get("halves"), kept
    )


def _example(row: dict[str, Any]) -> Encoded:
    offsets = tuple((int(start), int(end)) for start, end in row["offsets"])
    return Encoded(row["id"], row["text"], tuple(row["ids"]), offsets, tuple(row["supervised"]))


def _check(analysis: Analysis, folder: Path) -> None:
    """Raise `InputError` when something is empty, or shapes do not fit each other."""
    examples = analysis.examples
    if not analysis.sites or not examples:
        raise InputError(f"{folder} holds no valid capture (no site or no example); capture again")
    if any(len(e.ids) != len(e.offsets) or max(e.supervised, default=0) >= len(e.ids) for e in examples):
        raise InputError(f"{folder} holds no valid capture (an example's tokens do not fit its text); capture again")
    tokens = sum(len(example.ids) for example in examples)
    for site, found in analysis.sites.items():
        shapes = {name: array.shape for name, array in _arrays(found).items()}
        if shapes != _shapes(found, site.d_kv, tokens) or not np.isfinite(found.values).all():
            raise InputError(f"{folder}: the arrays of {site.name} do not fit {tokens} tokens of width {site.d_kv}")


def _shapes(found: SiteAnalysis, d: int, tokens: int) -> dict[str, tuple[int, ...]]:
    """The shape that each of `_arrays` should have."""
    shapes: dict[str, tuple[int, ...]] = {"values": (d,), "vectors": (d, d), "activation_energy": (d,)}
    shapes |= {f"null/{name}": (d,) for name in found.nulls}
    shapes |= {"band": (2, d)} if found.band is not None else {}
    shapes |= {"halves": (2, d, d)} if found.halves is not None else {}
    kept = found.coordinates
    if kept is None:
        return shapes
    by_direction, by_component = (tokens, kept.gradient.size // tokens), (tokens, kept.explained.size)
    return shapes | {"tokens/gradient": by_direction, "tokens/activation": by_direction, "tokens/product": (tokens,),
                     "tokens/scores": by_component, "tokens/explained": by_component[1:],
                     "tokens/axes": (by_component[1], by_direction[1])}  # fmt: skip


# --- the shelf -----------------------------------------------------------------------------------------------


def captures_folder() -> Path:
    """Where captures of this machine are saved."""
    return spd_home() / "captures"


def saved_names() -> list[str]:
    """Names of the captures of this machine, the newest first."""
    stamps: dict[str, float] = {}
    for path in captures_folder().glob(f"[!.]*/{RECORD}"):
        with suppress(FileNotFoundError):  # another tab deletes it at this moment
            stamps[path.parent.name] = path.stat().st_mtime
    return sorted(stamps, key=stamps.__getitem__, reverse=True)


def recorded_names() -> list[str]:
    """Names of the captures that come with SPD Lab."""
    return sorted(path.parent.name for path in RECORDED.glob(f"*/{RECORD}"))


def find_capture(name: str) -> Path:
    """The folder of a saved or recorded capture.

    Raises:
        InputError: none of that name.
    """
    for folder in (captures_folder(), RECORDED):
        found = child(folder, name)
        if (found / RECORD).is_file():
            return found
    raise InputError(f"no capture {name!r} is saved on this machine; choose one, or capture again")


def open_capture(name: str) -> Analysis:
    """A saved or recorded capture.

    Raises:
        InputError: none of that name, or damaged.
    """
    folder = find_capture(name)
    return load_analysis(folder, recorded=folder.parent == RECORDED)
