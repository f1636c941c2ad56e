"""Asks EleutherAI's lm-evaluation-harness about a lane: any of its tasks, prompted and scored by its own rules.

The harness sees an ordinary model: a projection and an adapter are folded into the weights for as long as it asks.
Refuses to know how a task scores, and to run code from a model or a hub. Optional: see requirements-eval.txt.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from spd_core.data.capability import Style
from spd_core.errors import InputError
from spd_core.evaluation.harness_tasks import built, check_tasks, index_of, reason_of
from spd_core.evaluation.subjects import fingerprint
from spd_core.intervention.projection import Lane, folded
from spd_core.models.loading import LanguageModel
from spd_core.storage import command_line, versions
from spd_core.subspace.arm_subspaces import subspace_fingerprint

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
    from jinja2 import TemplateError
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    asked = [task for name in tasks for task in built(name, include_path)]
    tokenizer = copy.deepcopy(lm.tokenizer)  # the harness sets its padding
    with folded(lm, lane):
        model = HFLM(lm.model, backend="causal", tokenizer=tokenizer, batch_size=batch_size, revision=lm.revision)
        try:
            found = simple_evaluate(
                model, tasks=asked, limit=limit, num_fewshot=num_fewshot, log_samples=False, batch_size=batch_size,
                task_manager=index_of(tasks[0], include_path), apply_chat_template=prompt_style == "chat",
                **({} if seed is None else dict.fromkeys(_SEEDS, seed)),
            )  # fmt: skip
        except (*_OF_TASKS, TemplateError) as error:
            raise InputError(f"the harness cannot carry out {', '.join(tasks)}: {reason_of(error)}") from error
    report = {name: value for name, value in (found or {}).items() if name not in _OF_THE_MACHINE}
    answers: dict[str, Any] = _plain({**report, "spd_lab": {**record, "prompt_style": prompt_style}})
    return answers


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
        words.append(f"{kinds} of layers {', '.join(map(str, layers))} projected into the {where} of "
                     f"{origin.capability or 'a capability'}, loss {origin.loss}, α {lane.strength:g}")  # fmt: skip
        facts["projection"] = {
            "strength": lane.strength, "kinds": lane.kinds, "layers": layers, "complement": lane.complement,
            "fingerprint": subspace_fingerprint(subspace), "subspace": origin.model_dump(mode="json"),
        }  # fmt: skip
    if adapter is not None:
        words.append(f"tuned by {adapter.card.label} of {adapter.card.run}")
        facts["adapter"] = {"fingerprint": adapter.fingerprint, "card": adapter.card.model_dump(mode="json")}
    return {
        "model": lm.name, "revision": lm.revision, "dtype": str(lm.dtype).removeprefix("torch."),
        "lane": "; ".join(words) or "the base model", **facts, "fingerprint": fingerprint(lm, lane),
        "generation_config": lm.model.generation_config.to_diff_dict(),  # the harness lets it act: say what it holds
        "versions": {**versions(), **{name: metadata.version(name) for name in ("lm_eval", "datasets")}},
        "command": command_line(), "created": datetime.now().isoformat(timespec="seconds"),
    }  # fmt: skip


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
