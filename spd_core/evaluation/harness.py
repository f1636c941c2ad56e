"""Asks EleutherAI's lm-evaluation-harness about a lane: any of its tasks, prompted and scored by its own rules.

The harness sees an ordinary model: a projection and an adapter are folded into the weights for as long as it asks.
Refuses to know how a task scores, and to run code from a model or a hub. Optional: see requirements-eval.txt.
"""

import copy
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from spd_core.data.capability import Style
from spd_core.errors import InputError
from spd_core.evaluation.subjects import fingerprint
from spd_core.intervention.projection import Lane, folded
from spd_core.models.loading import LanguageModel
from spd_core.recipes.gains import gains_fact, gains_in_words
from spd_core.storage import command_line, versions

_OF_THE_MACHINE = ("pretty_env_info", "git_hash", "upper_git_hash")  # of the working folder, not of the result
_OF_TASKS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)  # while they score
_SEEDS = ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed")


def harness_results(
    lm: LanguageModel,
    lane: Lane,
    tasks: Sequence[str],
    *,
    include_path: Path | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    num_fewshot: int | None = None,
    prompt_style: Style = "raw",
    seed: int | None = None,
) -> dict[str, Any]:
    """What the harness reports of a lane, and under `spd_lab` what answered. Plain values, fit for JSON.

    Args:
        tasks: names of tasks, groups or tags.
        include_path: folder of further tasks as YAML; Python that they name is run, as the harness does.
        limit: the first items of each task alone; None takes all.
        num_fewshot: worked examples before each question; None leaves that to the task.
        prompt_style: the prompt as it stands, or in the model's chat template.
        seed: of examples and sampling; None takes the harness' own.

    Raises:
        InputError: a task that is unknown, broken or out of reach, or that runs code a model has written.
        ModelError: a subspace or an adapter of another model, or weights that cannot be folded.
    """
    for what, value, least in (("limit", limit, 1), ("batch_size", batch_size, 1), ("num_fewshot", num_fewshot, 0)):
        if value is not None and value < least:
            raise InputError(f"{what} {value} is too small; give {least} or more")
    check_tasks(tasks, include_path)
    record = _record(lm, lane)  # refuses what was made for another model before any data is read
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    asked = [task for name in tasks for task in built(name, include_path)]
    tokenizer = copy.deepcopy(lm.tokenizer)  # the harness sets its padding
    with folded(lm, lane):
        model = HFLM(lm.model, backend="causal", tokenizer=tokenizer, batch_size=batch_size, revision=lm.revision)
        with carrying_out(tasks):
            found = simple_evaluate(
                model,
                tasks=asked,
                limit=limit,
                num_fewshot=num_fewshot,
                log_samples=False,
                batch_size=batch_size,
                task_manager=index_of(tasks[0], include_path),
                apply_chat_template=prompt_style == "chat",
                **({} if seed is None else dict.fromkeys(_SEEDS, seed)),
            )
    report = {name: value for name, value in (found or {}).items() if name not in _OF_THE_MACHINE}
    answers: dict[str, Any] = _plain({**report, "spd_lab": {**record, "prompt_style": prompt_style}})
    return answers


@contextmanager
def carrying_out(tasks: Sequence[str]) -> Iterator[None]:
    """Tell what a task raises while it is asked or scored as an `InputError` that names it."""
    from jinja2 import TemplateError

    try:
        yield
    except (*_OF_TASKS, TemplateError) as error:
        raise InputError(f"the harness cannot carry out {', '.join(tasks)}: {reason_of(error)}") from error


# --- the record ----------------------------------------------------------------------------------------------


def _record(lm: LanguageModel, lane: Lane) -> dict[str, Any]:
    """What answers: model, lane in words and numbers, fingerprints, versions, and the command."""
    layers, subspace, adapter = sorted({site.layer for site in lane.maps(lm)}), lane.subspace, lane.adapter
    lane.deltas(lm)  # refuses an adapter of another model
    words: list[str] = []
    facts: dict[str, Any] = {}
    if subspace is not None and layers:
        origin = subspace.provenance
        where = "complement of the subspace" if lane.complement else "subspace"
        kinds = " and ".join(f"{kind}s" for kind in lane.kinds)
        whose = f"{origin.capability or 'a capability'}, loss {origin.loss}"
        if lane.strength != 0:
            projected = f"{kinds} of layers {', '.join(map(str, layers))} projected into the {where} of {whose}"
            words.append(f"{projected}, α {lane.strength:g}")
        if lane.gains:
            words.append(f"directions of {whose} multiplied: {gains_in_words(lane.gains)}")
        facts["projection"] = {
            "strength": lane.strength,
            "kinds": lane.kinds,
            "layers": layers,
            "complement": lane.complement,
            **gains_fact(lane.gains),
            "fingerprint": subspace.fingerprint,
            "subspace": origin.model_dump(mode="json"),
        }
    if adapter is not None:
        words.append(f"tuned by {adapter.card.label} of {adapter.card.run}")
        facts["adapter"] = {"fingerprint": adapter.fingerprint, "card": adapter.card.model_dump(mode="json")}
    return {
        "model": lm.name,
        "revision": lm.revision,
        "dtype": str(lm.dtype).removeprefix("torch."),
        "lane": "; ".join(words) or "the base model",
        **facts,
        "fingerprint": fingerprint(lm, lane),
        "generation_config": lm.model.generation_config.to_diff_dict(),  # the harness lets it act: say what it holds
        "versions": {**versions(), **{name: metadata.version(name) for name in ("lm_eval", "datasets")}},
        "command": command_line(),
        "created": datetime.now().isoformat(timespec="seconds"),
    }


def _plain(value: Any) -> Any:
    """The same as JSON knows it; what is no number, text or collection, and numbers that are not finite, as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # numpy's scalars
        return _plain(value.item())
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


# --- its tasks -----------------------------------------------------------------------------------------------------


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
    """The harness' objects of a task, group or tag, a group as one; their data is read."""
    loaded = loaded_tasks(name, include_path)
    return [loaded["groups"][name]] if name in loaded["groups"] else list(loaded["tasks"].values())


def loaded_tasks(name: str, include_path: Path | None) -> dict[str, Any]:
    """The harness' objects of a task, group or tag: under `tasks` each task by its name, under `groups` each group.

    Raises:
        InputError: its data is out of reach, it is broken, or it runs code that a model has written.
    """
    manager = index_of(name, include_path)
    try:
        loaded: dict[str, Any] = manager.load([name])
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
    return loaded


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
