"""Settings from a file: JSON over the preset that it names, and a sentence for whatever is wrong with them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import ValidationError

from spd_core.data.tables import shortened
from spd_core.errors import InputError
from spd_core.recipes.on_policy import PUBLISHED_CHUNKS, SMALL_CHUNKS
from spd_core.records import Record, first_error
from spd_core.storage import refuse_pipe

_R = TypeVar("_R", bound=Record)
PresetName: TypeAlias = Literal["quick", "visible", "paper"]

PRESETS: Mapping[PresetName, Mapping[str, Any]] = {
    "quick": {
        "capture": {"examples": 30},
        "corpus": {"prompts": 48, "held_out": 8, "max_new_tokens": 24},
        "train": {"epochs": 2, "learning_rate": 2e-4},
        "omniopd": SMALL_CHUNKS,
    },
    "visible": {
        "capture": {"examples": 30},
        "corpus": {"prompts": 120, "held_out": 16, "max_new_tokens": 24},
        "train": {"epochs": 3, "learning_rate": 1e-3},
        "omniopd": SMALL_CHUNKS,
    },
    "paper": {"capture": {"examples": 50}, "omniopd": PUBLISHED_CHUNKS},
}
"""`paper`: the paper's settings, where it says them. `quick`: minutes on two cores with the built-in model, which it
hardly changes. `visible`: changes it so that it shows.

Measured with the built-in model on arithmetic (27 November 2026), where training is on its own raw text: with `quick`
the held-out loss falls from 2.25 to 2.22 nats (PSR) and from 2.19 to 2.17 (SSD); with `visible` from 2.16 to 1.59 and
from 2.10 to 1.49, and 13 and 14 of the 16 held-out prompts are answered in other words. An arm of `visible` took 3
minutes of processor time, so that the three default arms take about 10 on one core; `costs.cost_of` says at most 20,
as all answers could be as long as allowed.
"""
PRESETS_DO: Mapping[PresetName, str] = {
    "quick": "A first look, which hardly changes the model",
    "visible": "Changes the built-in model so that it shows: most answers in other words",
    "paper": "As the paper sets it, for a GPU",
}
"""What each is for, in a sentence."""


def read_settings(path: Path, make: Callable[[Any], _R]) -> _R:
    """What `make` makes of a JSON file; every error names the file.

    Raises:
        InputError: the file cannot be read, or `make` refuses what it says.
    """
    refuse_pipe(path)
    try:
        return make(settings_in(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); correct it and start again") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def settings_in(text: str) -> Any:
    """What a text says as JSON; the words that Python adds to JSON are refused.

    Raises:
        ValueError: it is no JSON, or holds `NaN`, `Infinity` or `-Infinity`.
    """
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number that a setting can have; write one")


def preset_under(settings: Any) -> dict[str, Any]:
    """Settings over those of the preset that they name (`paper` when they name none).

    Raises:
        InputError: they are no object, or the preset is unknown.
    """
    if not isinstance(settings, dict):
        raise InputError(f'a JSON {type(settings).__name__}, expected an object such as {{"preset": "quick", …}}')
    own = dict(settings)
    wanted = own.pop("preset", "paper")
    preset = next((name for name in PRESETS if name == wanted), None)
    if preset is None:
        raise InputError(f"unknown preset {shortened(wanted)!r}; choose {', '.join(PRESETS)}")
    return settings_over(PRESETS[preset], own)


def validated(kind: type[_R], settings: Mapping[str, Any], whole: str) -> _R:
    """A record from settings as JSON has them.

    Raises:
        InputError: a setting is unknown or out of range; the message names it, or else calls the record `whole`.
    """
    try:
        return kind.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        wrong = error.errors()[0]
        named = first_error(error) if wrong["loc"] else f"{whole}: {first_error(error)}"
        # Of a whole group of settings, the sentence names which.
        group = wrong["type"] == "value_error" and isinstance(wrong["input"], dict)
        shown = wrong["loc"] and wrong["type"] != "missing" and not group
        given = f" (given: {shortened(repr(wrong['input']))})" if shown else ""
        raise InputError(f"{named}{given}; correct it and start again") from error


def differing(recipe: Record) -> dict[str, Any]:
    """A recipe as a file best says it: the preset from which the fewest settings differ, and those.

    `distill.recipe_from` or `evaluation.evaluation_from` make the same recipe of it again.
    """
    own = recipe.model_dump(mode="json")
    found = {name: _beyond(own, _whole(type(recipe), name, own), recipe) for name in PRESETS}
    name = min(found, key=lambda one: _settings(found[one]))
    return {"preset": name, "capability": own["capability"], **found[name]}


def _whole(kind: type[Record], preset: PresetName, own: Mapping[str, Any]) -> dict[str, Any]:
    """A preset with all its settings; the capability has no default everywhere."""
    settings = {**PRESETS[preset], "capability": own["capability"]}
    return kind.model_validate(settings).model_dump(mode="json")


def _beyond(own: Mapping[str, Any], preset: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """Settings that differ, group by group; records in lists in their short form."""
    found: dict[str, Any] = {}
    for name, value in own.items():
        if value == preset.get(name):  # what is only written where it is set may be in one alone
            continue
        inner = getattr(record, name)
        if isinstance(inner, Record):
            found[name] = _beyond(value, preset[name], inner)
        elif isinstance(inner, tuple):
            found[name] = [
                one.in_short() if isinstance(one, Record) else plain for one, plain in zip(inner, value, strict=True)
            ]
        else:
            found[name] = value
    return found


def _settings(found: Mapping[str, Any]) -> int:
    """How many settings a file names."""
    return sum(_settings(value) if isinstance(value, Mapping) else 1 for value in found.values())


def settings_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, group by group."""
    both = {
        name: settings_over(base[name], own[name])
        for name in base.keys() & own.keys()
        if isinstance(base[name], Mapping) and isinstance(own[name], Mapping)
    }
    return {**base, **own, **both}
