"""Finds tasks of EleutherAI's lm-evaluation-harness, its own or a folder's, and refuses those that cannot be asked.

Knows neither models nor lanes. Optional: see requirements-eval.txt.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from spd_core.errors import InputError


def check_tasks(names: Sequence[str], include_path: Path | None = None) -> None:
    """Look tasks up; neither their data is read nor their Python run.

    Raises:
        InputError: the harness is not installed, a task is unknown, or it would run code that it must not.
    """
    try:
        from lm_eval.api import metrics  # noqa: F401 - fills the registry
        from lm_eval.api.registry import METRIC_REGISTRY
    except ImportError as error:
        raise InputError(
            f"lm-evaluation-harness cannot be loaded ({error}); run: pip install -r requirements-eval.txt"
        ) from error
    if not names:
        raise InputError("no task to ask; name one or more, such as arc_easy,gsm8k")
    if include_path is not None:
        _check_folder(include_path)
    for name in names:
        index = index_of(name, include_path).task_index
        if name not in index:
            known = [*index, *(_local(include_path).task_index if include_path is not None else ())]
            near = ", ".join(difflib.get_close_matches(name, known, n=5)) or "none"
            raise InputError(f"the harness has no task {name!r}; near ones: {near}. `lm-eval ls tasks` lists its own")
        for part, config in _configs(index, name):
            if (config or {}).get("unsafe_code"):
                raise _runs_code(part)
            odd = next((metric for metric in _metrics(config or {}) if metric not in METRIC_REGISTRY), None)
            if odd is not None:
                raise InputError(
                    f"task {part!r} has the metric {odd!r}, which is code to be downloaded from a hub, and no such "
                    "code is run here; choose another task, or a metric that the harness has itself"
                )


def _runs_code(name: str) -> InputError:
    return InputError(
        f"task {name!r} runs code that the model writes, and the harness runs it unprotected; our own scoring of code "
        "runs it isolated: python -m spd_core table"
    )


@cache
def _own() -> Any:
    """The index of the harness' 15,000 own tasks: seconds to read, and always the same."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _local(folder: Path, defaults: bool = False) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder.expanduser().resolve(), include_defaults=defaults)


def index_of(name: str, include_path: Path | None) -> Any:
    """The index that knows a task: of the folder, which goes first; of the harness; of both where one needs both."""
    local = None if include_path is None else _local(include_path)
    if include_path is None or local is None or name not in local.task_index:
        return _own()
    whole = all(config is not None for _, config in _configs(local.task_index, name))
    return local if whole else _local(include_path, defaults=True)


def _configs(index: Mapping[str, Any], member: Any) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """A task, or a group or tag with all below it, each with its configuration; None for a name not in the index."""
    below: Any
    if isinstance(member, str):
        entry = index.get(member)
        tag = entry is not None and entry.cfg is None
        config = {} if tag else getattr(entry, "cfg", None)
        below = sorted(index[member].tags) if tag else (config or {}).get("task")
        yield member, config
    else:  # an entry of a group: another one with changes, or one that is written there
        below = member.get("task", member.get("group"))
        yield str(below), member
        below = [below] if isinstance(below, str) else below
    for part in below if isinstance(below, list) else ():
        yield from _configs(index, part)


def _metrics(config: Mapping[str, Any]) -> Iterator[str]:
    """Names of metrics that the harness would look up; a task's own functions are paths, and no names."""
    for metric in config.get("metric_list") or ():
        name = str(metric.get("metric"))
        if metric.get("hf_evaluate"):
            yield f"{name} (hf_evaluate)"
        elif not config.get("process_results") and not name.startswith("/"):
            yield name


def _check_folder(folder: Path) -> None:
    """Refuse YAML that is none: the harness would pass over it in silence."""
    import yaml

    if not folder.expanduser().is_dir():
        raise InputError(f"no folder of tasks at {folder}; give one with YAML files")
    for path in sorted(folder.expanduser().rglob("*.yaml")):
        try:
            yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path} is no YAML: {' '.join(str(error).split())}; correct it, or take it out"
            ) from error


def built(name: str, include_path: Path | None) -> list[Any]:
    """The harness' objects of a task, group or tag; their data is read."""
    manager = index_of(name, include_path)
    try:
        loaded = manager.load([name])
    except ConnectionError as error:
        raise InputError(
            f"the data of task {name!r} is out of reach: {reason_of(error)}. Connect this machine and unset "
            "HF_HUB_OFFLINE, copy HF_HOME from where it was read before, or use data of your own with --include-path"
        ) from error
    except Exception as error:  # a task is a program of others: whatever it raises is told as its own
        where = manager.task_index[name].yaml_path or f"the tasks of {name}"
        raise InputError(f"task {name!r} is broken: {reason_of(error)}; correct {where}, or leave it out") from error
    unsafe = [part for part, task in loaded["tasks"].items() if getattr(task, "UNSAFE_CODE", False)]
    if unsafe:  # a task in Python says so only now
        raise _runs_code(unsafe[0])
    return [loaded["groups"][name]] if name in loaded["groups"] else list(loaded["tasks"].values())


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
