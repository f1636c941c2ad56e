"""Texts of Side by side that come with SPD Lab: those of a capture, and the one that shows most."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import streamlit as st

from spd_core.errors import InputError
from spd_core.evaluation import repeats
from spd_core.evaluation.opening_sample import is_telling
from spd_core.evaluation.repeats import Repeat
from spd_core.generation import comparison as texts
from spd_core.generation.comparison import Comparison


@st.cache_resource(max_entries=200, show_spinner=False)
def read_once(path: str, stamp: int) -> Comparison:
    """The result in a file, read again only when it was changed."""
    return texts.read_comparison(Path(path))


@st.cache_resource(max_entries=100, show_spinner=False)
def read_repeat_once(path: str, stamp: int) -> Repeat:
    """The repeat in a file, read again only when it was changed."""
    return repeats.read_repeat(Path(path))


def repeat_for(comparison: Comparison) -> Repeat | None:
    """The newest repeat over prompts and seeds that a result belongs to, the recorded ones last."""
    return next((found for found in _read_all(repeats.repeat_files()) if found.belongs_to(comparison)), None)


def own_repeats(most: int) -> list[Repeat]:
    """The newest ones of this machine."""
    own = [path for path in repeats.repeat_files() if path.parent != repeats.RECORDED_REPEATS]
    return list(_read_all(own[:most]))


def _read_all(paths: Sequence[Path]) -> Iterator[Repeat]:
    for path in paths:
        with suppress(InputError, FileNotFoundError):  # a damaged one says nothing; another tab may delete one
            yield read_repeat_once(str(path), path.stat().st_mtime_ns)


def is_recorded(comparison: Comparison) -> bool:
    """Whether a result comes with SPD Lab: by itself, or as a cell of a recorded repeat."""
    cell = repeats.cell_of(comparison.id)
    return comparison.recorded or (cell is not None and (repeats.RECORDED_REPEATS / f"{cell[0]}.json").is_file())


def _open_cell(name: str) -> Comparison | None:
    """The texts of a prompt and a seed of a repeat; None where the name means something else."""
    cell = repeats.cell_of(name)
    if cell is None:
        return None
    path = repeats.find_repeat(cell[0])
    found = read_repeat_once(str(path), path.stat().st_mtime_ns)
    if not (0 <= cell[1] < len(found.prompts) and 0 <= cell[2] < len(found.seeds)):
        raise InputError(f"the repeat {cell[0]!r} has no such prompt and seed; choose another cell")
    return found.comparison(cell[1], cell[2])


def open_once(name: str) -> Comparison:
    """The saved or recorded result of an id, or the cell of a repeat; raises `InputError` when there is none, or it is
    damaged."""
    try:
        path = texts.find_comparison(name)
    except InputError:
        if (cell := _open_cell(name)) is not None:
            return cell
        raise
    try:
        return read_once(str(path), path.stat().st_mtime_ns)
    except FileNotFoundError as error:  # another tab deletes it at this moment
        raise InputError(f"the result {name!r} was deleted; choose another") from error


def recorded_of(capture: str) -> Iterator[Comparison]:
    """The recorded results of a capture that can be read."""
    return (one for one in _recorded(*_shelf()) if one.analysis == capture)


def recorded_for(capture: str, prompt: str | None = None) -> Comparison | None:
    """The recorded result of a capture and a prompt; without a prompt the first telling one."""
    if prompt is not None:
        return next((one for one in recorded_of(capture) if one.prompt == prompt), None)
    return _first_telling(capture, *_shelf())


def _shelf() -> tuple[str, int]:
    """The folder of the recorded results, and when it was changed last: with SPD Lab alone."""
    folder = texts.RECORDED
    return str(folder), folder.stat().st_mtime_ns if folder.is_dir() else 0


@st.cache_resource(max_entries=4, show_spinner=False)
def _recorded(folder: str, stamp: int) -> tuple[Comparison, ...]:
    """All that can be read; every run of Side by side asks for them."""
    return tuple(one for name in texts.recorded_ids() if (one := _readable(name)))


@st.cache_resource(max_entries=20, show_spinner=False)
def _first_telling(capture: str, folder: str, stamp: int) -> Comparison | None:
    """The result that Side by side opens on."""
    found = list(recorded_of(capture))
    return next((one for one in found if is_telling(one, _raw_is_right(one))), next(iter(found), None))


def _raw_is_right(comparison: Comparison) -> bool | None:
    """By the repeat that it belongs to; None where that does not know."""
    repeat = repeat_for(comparison)
    place = None if repeat is None else repeat.place_of(comparison)
    return None if repeat is None or place is None else repeat.prompts[place[0]].texts[place[1]][0].right


def _readable(name: str) -> Comparison | None:
    try:
        return open_once(name)
    except InputError:  # a damaged recorded file is told where it is chosen
        return None
