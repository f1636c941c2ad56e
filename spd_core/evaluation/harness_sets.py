"""Tasks of lm-evaluation-harness as sets of a table: the harness puts and scores each item, the table does the rest.

An item is right where its metric is 1 and wrong where it is 0. Records are kept as those of other sets, so that claims,
controls and going on work alike.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import Any

from spd_core.data.capability import Capability, Example, Settings, Style
from spd_core.errors import InputError
from spd_core.evaluation.answers import Evaluated, Through, evaluate
from spd_core.evaluation.harness import carrying_out, check_tasks, loaded_tasks
from spd_core.evaluation.items import Items, read_set
from spd_core.evaluation.store import About, ItemRecord, ItemStore
from spd_core.intervention.projection import Lane, folded
from spd_core.models.loading import LanguageModel
from spd_core.peers import ALONE, Peers
from spd_core.progress import Progress, Stop, Tell, silent
from spd_core.recipes.sets import EvalSet, HarnessTask

_SEED = 1234  # of worked examples: the harness' own
_BATCHES = 4  # asked in one go, between two looks whether to stop
_DECIDING = ("num_fewshot", "description", "target_delimiter", "fewshot_delimiter", "generation_kwargs", "filter_list")
"""Settings of a task that decide what is asked and read: a folder's own task may be edited under the same version."""


@dataclass(frozen=True)
class HarnessItems(Items):
    """The items of a task, ready to be asked.

    Attributes:
        tasks: the harness' objects by their names; several where the name is a group's or a tag's.
        metric, filter: which of its scores counts, of the answer after which of its filters.
        version: of the harness and the tasks.
        of_options: expected share of right guesses; None where there are no options.
    """

    tasks: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    filter: str = ""
    version: str = ""
    of_options: float | None = None

    @property
    def chance(self) -> float | None:
        """Expected share of right guesses where there are options; None elsewhere."""
        return self.of_options

    def about(self, subject: str, writer: str = "") -> About:
        """What the records of a subject depend on; no engine answers a task."""
        return About(
            subject=subject,
            set=self.capability.name,
            template=self.version,
            scorer=f"harness:{self.capability.name.split(':')[1]}/{self.metric},{self.filter}",
            style=self.style,
            max_new_tokens=self.max_new_tokens,
            writer=writer,
        )


def read_items(wanted: EvalSet, style: Style = "raw") -> Items:
    """The items of any set, a task of the harness among them.

    Raises:
        InputError: as `read_set`, `check_tasks` and `loaded_tasks`; a metric that a task does not have.
    """
    if wanted.task is None:
        return read_set(wanted, style)
    folder = Path(wanted.data).expanduser() if wanted.data else None
    check_tasks([wanted.task.name], folder)
    with carrying_out([wanted.task.name]):
        return _read(wanted, wanted.task, loaded_tasks(wanted.task.name, folder)["tasks"], style)


def evaluate_items(
    lm: LanguageModel,
    lane: Lane,
    items: Items,
    fingerprint: str,
    *,
    batch_size: int = 32,
    tell: Tell = silent,
    stop: Stop | None = None,
    writer: str = "",
    through: Through | None = None,
    peers: Peers = ALONE,
) -> Evaluated:
    """Answer every item of any set that has no record yet; all else as `answers.evaluate`.

    It is asked in parts. Worked examples are drawn item by item in the task's order: those of items before a part are
    drawn again, so that an item has the same ones however many are asked, and by which process.
    """
    if not isinstance(items, HarnessItems):
        options: dict[str, Any] = {"writer": writer, "through": through, "peers": peers}
        return evaluate(lm, lane, items, fingerprint, batch_size=batch_size, tell=tell, stop=stop, **options)
    store = ItemStore(items.about(fingerprint), peers)
    asked = {example.id: (example.id, example.answer, example.setup) for example in items.capability.examples}
    tokens = 0
    with store.writing(stop) as before:
        if before is None:
            return Evaluated((), len(asked), 0, 0)
        known = {(one.id, one.gold, one.tests): one for one in before.values()}
        reused = sum(one in known for one in asked.values())
        missing = {asked[key][0] for key in asked if asked[key] not in known}
        for name, numbers in peers.mine(list(_parts(items, missing, batch_size))):
            if stop is not None and stop():
                break
            answered = _ask(lm, lane, items, name, numbers, batch_size)
            new = [one for one in answered if (one.id, one.gold, one.tests) not in known]
            store.add(new)
            tokens += sum(one.tokens for one in new)
            tell(Progress(reused + store.added(), len(asked), tokens=tokens))
    known, tokens = (
        {(one.id, one.gold, one.tests): one for one in store.records().values()},
        sum(peers.gathered(tokens)),
    )
    return Evaluated(tuple(known[one] for one in asked.values() if one in known), len(asked), tokens, reused)


# --- reading -----------------------------------------------------------------------------------------------------


def _read(wanted: EvalSet, task: HarnessTask, tasks: Mapping[str, Any], style: Style) -> HarnessItems:
    metric, filter_ = _measure(task, tasks)
    for one in tasks.values():
        one.set_fewshot_seed(_SEED)
        if one.get_config("num_fewshot") is None:
            one.set_config("num_fewshot", 0)
    docs = [(name, number, doc) for name, one in tasks.items() for number, doc in _docs(one, wanted.limit)]
    options = [len(found) for name, _, doc in docs if (found := _options(tasks[name], doc))]
    title = f"{task.name} ({metric}, lm-evaluation-harness)"
    return HarnessItems(
        name=wanted.name,
        capability=Capability(
            Settings(capability=f"harness:{task.name}:{metric},{filter_}", title=title, template="{prompt}"),
            tuple(_example(tasks[name], name, number, doc) for name, number, doc in docs),
        ),
        style=style,
        max_new_tokens=max(_longest(one) for one in tasks.values()),
        tasks=tasks,
        metric=metric,
        filter=filter_,
        version=f"lm-evaluation-harness {metadata.version('lm_eval')}, {_versions(tasks)}",
        of_options=fmean(1 / count for count in options) if len(options) == len(docs) else None,
    )


def _versions(tasks: Mapping[str, Any]) -> str:
    """`sums, version 1.0`; of many tasks how many have which."""
    found = {name: (one.get_config("metadata") or {}).get("version", "not given") for name, one in tasks.items()}
    if len(found) < 4:
        return ", ".join(f"{name}, version {version}" for name, version in found.items())
    return ", ".join(f"{count} tasks of version {version}" for version, count in Counter(found.values()).items())


def _measure(task: HarnessTask, tasks: Mapping[str, Any]) -> tuple[str, str]:
    """The metric that counts, and the filter: those that are named, else the first."""
    metric, _, filter_ = task.metric.partition(",")
    for name, one in tasks.items():
        metrics = [str(known) for known in one.aggregation()]
        filters = [known["name"] for known in one.get_config("filter_list") or ()] or ["none"]
        metric, filter_ = metric or metrics[0], filter_ or filters[0]
        if metric not in metrics or filter_ not in filters:
            raise InputError(
                f"task {name!r} has no metric {metric},{filter_}; it has the metrics {', '.join(metrics)}, after the "
                f"filters {', '.join(filters)}: write harness:{task.name}:METRIC or harness:{task.name}:METRIC,FILTER"
            )
    return metric, filter_


def _docs(task: Any, limit: int | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return ((number, doc) for number, doc in enumerate(task.eval_docs) if limit is None or number < limit)


def _options(task: Any, doc: Mapping[str, Any]) -> list[str]:
    return list(task.doc_to_choice(doc)) if task.OUTPUT_TYPE == "multiple_choice" else []


def _longest(task: Any) -> int:
    """Most new tokens of an answer."""
    settings = task.get_config("generation_kwargs") or {}
    return int(settings.get("max_gen_toks", 256)) if task.OUTPUT_TYPE == "generate_until" else 1


def _example(task: Any, name: str, number: int, doc: Mapping[str, Any]) -> Example:
    """An item as other parts know it; its setup stands for all that the task knows of it, and does with it."""
    text, right = str(task.doc_to_text(doc)), _right(task, doc)
    asked = [doc, text, _options(task, doc), {setting: task.get_config(setting) for setting in _DECIDING}]
    known = hashlib.sha256(json.dumps(asked, sort_keys=True, default=_plain).encode()).hexdigest()
    return Example(id=f"{name}-{number}", split="heldout", prompt=text or "∅", answer=right or "∅", setup=known)


def _plain(found: Any) -> str:
    """What JSON has no form of; a function by its name, as its address is another one in every process."""
    return getattr(found, "__qualname__", str(found))


def _right(task: Any, doc: Mapping[str, Any]) -> str:
    target, options = task.doc_to_target(doc), _options(task, doc)
    if isinstance(target, int) and 0 <= target < len(options):
        return options[target].strip()
    return str(target).strip()


# --- asking ------------------------------------------------------------------------------------------------------


def _parts(items: HarnessItems, missing: set[str], batch_size: int) -> Iterator[tuple[str, list[int]]]:
    """What is asked in one go: a task, and the numbers of its items in ascending order."""
    for name, task in items.tasks.items():
        ids = [one.id for one in items.capability.examples if one.id.rpartition("-")[0] == name]
        left = [int(one.rpartition("-")[2]) for one in ids if one in missing]
        size = batch_size * _BATCHES
        if task.get_config("num_fewshot"):  # without a gap, or the draws would be of other items
            parts = (list(range(at, min(at + size, len(ids)))) for at in range(0, len(ids), size))
            yield from ((name, part) for part in parts if set(part) & set(left))
        else:
            yield from ((name, left[at : at + size]) for at in range(0, len(left), size))


def _ask(
    lm: LanguageModel, lane: Lane, items: HarnessItems, name: str, numbers: Sequence[int], batch_size: int
) -> list[ItemRecord]:
    import copy

    from lm_eval.evaluator import evaluate as ask_harness
    from lm_eval.models.huggingface import HFLM

    with folded(lm, lane), carrying_out([name]):
        _draw_up_to(items.tasks[name], numbers[0])
        tokenizer = copy.deepcopy(lm.tokenizer)  # the harness sets its padding
        model = HFLM(lm.model, backend="causal", tokenizer=tokenizer, batch_size=batch_size, revision=lm.revision)
        found = ask_harness(
            model,
            {"tasks": {name: items.tasks[name]}, "groups": {}},
            samples={name: list(numbers)},
            bootstrap_iters=0,
            apply_chat_template=items.style == "chat",
            fewshot_as_multiturn=True,
        )
    samples = [one for one in (found or {})["samples"][name] if one["filter"] == items.filter]
    known = {example.id: example for example in items.capability.examples}
    return [_record(lm, items, known[f"{name}-{one['doc_id']}"], one) for one in samples]


def _draw_up_to(task: Any, first: int) -> None:
    """Draw the worked examples of all items before this one, so that the next draw is its own."""
    task.set_fewshot_seed(_SEED)
    if task.get_config("num_fewshot") and first:
        task.build_all_requests(samples=list(range(first)))


def _record(lm: LanguageModel, items: HarnessItems, example: Example, sample: Mapping[str, Any]) -> ItemRecord:
    value = float(sample[items.metric])
    if value not in (0.0, 1.0):
        raise InputError(
            f"{items.metric} of {example.id} is {value:g}, neither right (1) nor wrong (0), and cannot be paired so; "
            "choose another metric, or the command harness"
        )
    asked, scored = sample["arguments"], sample["filtered_resps"]
    if isinstance(asked[0][1], str):  # continuations, by their log-likelihoods
        options = [str(one[1]) for one in asked if one[0] == asked[0][0]]
        logs = [float(one[0]) for one in scored[: len(options)]]
        written = "\n".join(f"{log:.3f} {option.strip()}" for log, option in zip(logs, options, strict=True))
        best = options[logs.index(max(logs))].strip()
        read, counted = (best if len(options) > 1 or scored[0][1] else None), "".join(options)
    else:
        written = counted = str(sample["resps"][0][0])
        read = str(scored[0])
    return ItemRecord(
        id=example.id,
        prompt=str(asked[0][0]),
        gold=example.answer,
        tests=example.setup,
        completion=written,
        extracted=read,
        correct=bool(value),
        early=bool(value),  # the task itself says where an answer ends
        ended=True,
        tokens=len(lm.tokenizer(counted, add_special_tokens=False).input_ids),
    )
