"""Settings from a file: JSON over the preset that it names, and a sentence for whatever is wrong with them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import ValidationError

from spd_core.errors import InputError
from spd_core.records import Record, first_error

_R = TypeVar("_R", bound=Record)
PresetName: TypeAlias = Literal["quick", "paper"]

PRESETS: Mapping[PresetName, Mapping[str, Any]] = {
    "quick": {
        "capture": {"examples": 30},
        "corpus": {"prompts": 48, "held_out": 8, "max_new_tokens": 24},
        "train": {"epochs": 2, "learning_rate": 2e-4},
    },
    "paper": {"capture": {"examples": 50}},
}
"""`paper`: the paper's settings, where it says them. `quick`: minutes on two cores with the built-in model."""


def read_settings(path: Path, make: Callable[[Any], _R]) -> _R:
    """What `make` makes of a JSON file; every error names the file.

    Raises:
        InputError: the file cannot be read, or `make` refuses what it says.
    """
    try:
        return make(json.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); correct it and start again") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def preset_under(settings: Any) -> dict[str, Any]:
    """Settings over those of the preset that they name (`paper` when they name none).

    Raises:
        InputError: they are no object, or the preset is unknown.
    """
    if not isinstance(settings, dict):
        raise InputError(f'a JSON {type(settings).__name__}, expected an object such as {{"preset": "quick", …}}')
    own = dict(settings)
    preset = own.pop("preset", "paper")
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}; choose {', '.join(PRESETS)}")
    return _merged(PRESETS[preset], own)


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
        given = f" (given: {wrong['input']!r})" if wrong["loc"] and wrong["type"] != "missing" else ""
        raise InputError(f"{named}{given}; correct it and start again") from error


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, group by group."""
    both = {
        name: _merged(base[name], own[name])
        for name in base.keys() & own.keys()
        if isinstance(base[name], Mapping) and isinstance(own[name], Mapping)
    }
    return {**base, **own, **both}
