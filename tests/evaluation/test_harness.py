"""The harness' scores against log-likelihoods and greedy texts computed here, with hooks instead of folded weights."""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from spd_core.errors import InputError, ModelError
from spd_core.evaluation.harness import _plain, check_tasks, harness_results
from spd_core.intervention.projection import Lane, projecting
from spd_core.subspace.subspace import random_subspace
from tests import shell
from tests.intervention.test_projection import subspace_of
from tests.lora import adapter_of, peft_model
from tests.shell import Run, write

run, llama, sums, subspace = shell.run, shell.llama, shell.sums, shell.subspace
CHOICES = [  # of like length: the model decides, and not the number of tokens
    {"question": f"{7 * i % 23} + {i} =", "choices": [f"{97 * i % 89:02}", f"x{i % 7}", f"{i % 10}!y"], "label": i % 3}
    for i in range(1, 25)
]
QUESTIONS = [f"Say {i} words, {'please' * (i % 3)}:" for i in range(1, 9)]
MULTIPLE_CHOICE = {
    "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{label}}",
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")],
}  # fmt: skip
WRITING = {
    "output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{target}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}  # fmt: skip


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real harness; it lists the machine's parts with every result, which takes seconds and is left out of ours."""
    if not os.environ.get("CI"):  # there it must be installed
        pytest.importorskip("lm_eval")
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", lambda: "")


@pytest.fixture
def task(tmp_path: Path, library: None) -> Callable[..., Path]:
    """Write a task of its own, with local data, into one folder; the folder."""

    def make(name: str, rows: list[dict[str, Any]], settings: dict[str, Any], **more: Any) -> Path:
        folder = tmp_path / "tasks"
        folder.mkdir(exist_ok=True)
        data = write(folder / f"{name}.jsonl", *rows)
        own = {"data_files": {"test": str(data)}, "cache_dir": str(tmp_path / "cache")}
        known = {"task": name, "dataset_path": "json", "dataset_kwargs": own, "test_split": "test"}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**known, **settings, **more}))
        return folder

    return make


# --- the same by hand ----------------------------------------------------------------------------------------


def log_likelihood(lm: Any, model: Any, prompt: str, continuation: str) -> float:
    before = lm.tokenizer(prompt).input_ids  # one token a byte: parts join to the whole
    ids = torch.tensor([before + lm.tokenizer(continuation).input_ids])
    with torch.no_grad():
        logs = model(ids).logits[0].double().log_softmax(-1)  # [seq, vocabulary]
    return sum(float(logs[at - 1, ids[0, at]]) for at in range(len(before), ids.shape[1]))


def answers(lm: Any, model: Any) -> list[tuple[int, int]]:
    """The likeliest choice of each item, and the likeliest for each of its characters."""
    found = []
    for row in CHOICES:
        scores = [log_likelihood(lm, model, row["question"], f" {choice}") for choice in row["choices"]]
        shares = [score / len(choice) for score, choice in zip(scores, row["choices"], strict=True)]
        found.append((scores.index(max(scores)), shares.index(max(shares))))
    return found


def labelled(lm: Any) -> list[dict[str, Any]]:
    """The items with labels that the plain model chooses in the first half: no other one scores alike by chance."""
    own = answers(lm, lm.model)
    return [{**row, "label": own[at][0]} if at < len(own) // 2 else row for at, row in enumerate(CHOICES)]


def accuracies(lm: Any, model: Any, rows: list[dict[str, Any]]) -> tuple[float, float]:
    found = answers(lm, model)
    plain = sum(choice == row["label"] for (choice, _), row in zip(found, rows, strict=True))
    normed = sum(choice == row["label"] for (_, choice), row in zip(found, rows, strict=True))
    return plain / len(rows), normed / len(rows)


def greedy(lm: Any, prompt: str, tokens: int = 8) -> str:
    ids = lm.tokenizer(prompt, return_tensors="pt").input_ids
    length = ids.shape[1]
    while ids.shape[1] < length + tokens and (ids.shape[1] == length or ids[0, -1] != lm.tokenizer.eos_token_id):
        with torch.no_grad():
            ids = torch.cat([ids, lm.model(ids).logits[:, -1:].argmax(-1)], 1)
    text: str = lm.tokenizer.decode(ids[0, length:], skip_special_tokens=True)
    return text.split("\n")[0]


def weights(lm: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}


def assert_unchanged(lm: Any, before: dict[str, torch.Tensor]) -> None:
    after = lm.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def scores(found: dict[str, Any], name: str) -> tuple[float, float]:
    row = found["results"][name]
    return row["acc,none"], row["acc_norm,none"]


# --- scores --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_choices_score_as_by_hand(family: str, tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    lm = tiny_lm(family)
    rows = labelled(lm)
    folder = task("sums", rows, MULTIPLE_CHOICE)
    before, padding = weights(lm), lm.tokenizer.padding_side
    own = subspace_of(lm)
    lanes = {
        "raw": Lane(),
        "projected": Lane(own),
        "half": Lane(own, 0.5, ("value",), (2,), complement=True),
        "random": Lane(random_subspace(own, 3)),
    }
    seen = {}
    for name, lane in lanes.items():
        found = harness_results(lm, lane, ["sums"], include_path=folder, batch_size=5)
        with projecting(lm, lane):
            expected = accuracies(lm, lm.model, rows)
        assert scores(found, "sums") == expected
        assert found["n-samples"]["sums"] == {"original": 24, "effective": 24}
        seen[name] = expected
    assert seen["raw"] != seen["projected"], "lanes that score alike would prove nothing"
    assert len(set(seen.values())) > 2
    assert_unchanged(lm, before)
    assert lm.tokenizer.padding_side == padding


def test_an_adapter_scores_as_the_model_that_peft_merges(
    tmp_path: Path, tiny_lm: Callable[[str], Any], task: Callable[..., Path]
) -> None:
    lm = tiny_lm("llama")
    rows = labelled(lm)
    folder = task("sums", rows, MULTIPLE_CHOICE)
    reference, before = peft_model(lm), weights(lm)
    adapter = adapter_of(lm, reference, tmp_path / "adapter")
    found = harness_results(lm, Lane(adapter=adapter), ["sums"], include_path=folder)
    expected = accuracies(lm, reference.merge_and_unload(), rows)
    assert scores(found, "sums") == expected != accuracies(lm, lm.model, rows)
    assert found["spd_lab"]["lane"] == f"tuned by SPD of {adapter.card.run}"
    assert found["spd_lab"]["adapter"]["fingerprint"] == adapter.fingerprint
    both = Lane(subspace_of(lm), adapter=adapter)
    with projecting(lm, both):
        expected = accuracies(lm, lm.model, rows)
    assert scores(harness_results(lm, both, ["sums"], include_path=folder), "sums") == expected
    assert_unchanged(lm, before)


def test_written_text_is_the_greedy_one(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    lm = tiny_lm("llama")
    lane = Lane(subspace_of(lm))
    raw = [greedy(lm, question) for question in QUESTIONS]
    with projecting(lm, lane):
        projected = [greedy(lm, question) for question in QUESTIONS]
    targets = [*raw[:3], *projected[3:]]
    rows = [{"question": q, "target": target} for q, target in zip(QUESTIONS, targets, strict=True)]
    folder, shares = task("words", rows, WRITING), []
    for chosen, texts in ((Lane(), raw), (lane, projected)):
        share = sum(text == target for text, target in zip(texts, targets, strict=True)) / len(targets)
        found = harness_results(lm, chosen, ["words"], include_path=folder, batch_size=3)
        assert found["results"]["words"]["exact_match,none"] == share
        shares.append(share)
    assert 0 < shares[0] < shares[1] < 1


def test_limit_shots_seed_and_chat_reach_the_harness(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    lm, seen, free = tiny_lm("llama"), [], []
    folder = task("words", [{"question": q, "target": "x"} for q in QUESTIONS], WRITING, fewshot_split="test")
    plain = lm.model.generate

    def watched(input_ids: torch.Tensor, **options: Any) -> Any:
        seen.extend(lm.tokenizer.batch_decode(input_ids, skip_special_tokens=True))
        other = threading.Thread(target=lambda: free.append(lm.lock.acquire(blocking=False)))
        other.start()
        other.join()
        return plain(input_ids=input_ids, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm.model, "generate", watched, raising=False)
        asked = {"include_path": folder, "limit": 2, "num_fewshot": 1, "seed": 5}
        found = harness_results(lm, Lane(), ["words"], **asked, prompt_style="chat")
        harness_results(lm, Lane(), ["words"], **asked)
    assert free
    assert not any(free), "the harness has the model to itself"
    assert found["n-samples"]["words"]["effective"] == 2
    assert found["n-shot"]["words"] == 1
    assert {found["config"][f"{name}_seed"] for name in ("random", "numpy", "torch", "fewshot")} == {5}
    assert len(seen) == 4
    assert all(text.startswith("<user>") and "<assistant>x" in text for text in seen[:2]), "in the chat template"
    assert not any("<user>" in text for text in seen[2:])
    assert all(text.count("Say") == 2 for text in seen), "one worked example, and the question"


def test_the_report_says_what_answered(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    from spd_core.evaluation.subjects import fingerprint

    lm, folder = tiny_lm("llama"), task("sums", CHOICES, MULTIPLE_CHOICE, metadata={"version": 2.0})
    lane = Lane(subspace_of(lm), 0.5, ("value",), (2,), complement=True)
    found = harness_results(lm, lane, ["sums"], include_path=folder, limit=1)
    assert json.loads(json.dumps(found, allow_nan=False)) == found, "plain values: a single item has no deviation"
    assert found["versions"] == {"sums": 2.0}
    assert found["configs"]["sums"]["doc_to_text"] == "{{question}}"
    record = found["spd_lab"]
    assert (record["model"], record["revision"], record["dtype"]) == (lm.name, lm.revision, "float32")
    assert record["lane"].startswith("values of layers 2 projected into the complement of the subspace of")
    assert record["lane"].endswith("α 0.5")
    assert record["fingerprint"] == fingerprint(lm, lane)
    assert record["projection"]["layers"] == [2]
    assert {"lm_eval", "torch", "transformers"} <= set(record["versions"])
    assert "pretty_env_info" not in found


def test_groups_tags_and_tasks_are_asked_together(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    lm, folder = tiny_lm("llama"), task("sums", CHOICES[:4], MULTIPLE_CHOICE)
    for name in ("more", "less", "alone"):
        task(name, CHOICES[:3], MULTIPLE_CHOICE, **({} if name == "alone" else {"tag": "tagged"}))
    mean = {"metric": "acc", "aggregation": "mean", "weight_by_size": True}
    (folder / "group.yaml").write_text(
        yaml.safe_dump({"group": "both", "task": ["sums", "alone"], "aggregate_metric_list": [mean]})
    )
    found = harness_results(lm, Lane(), ["both", "tagged"], include_path=folder)
    rows = found["results"]
    assert set(rows) == {"both", "sums", "alone", "more", "less"}
    assert found["groups"]["both"]["acc,none"] == rows["both"]["acc,none"]
    assert rows["both"]["acc,none"] == pytest.approx((4 * rows["sums"]["acc,none"] + 3 * rows["alone"]["acc,none"]) / 7)
    with pytest.raises(InputError, match="Duplicate task 'sums'"):
        harness_results(lm, Lane(), ["both", "sums"], include_path=folder)


def test_values_that_json_does_not_know_become_text() -> None:
    import numpy as np

    values = {("a", 1): np.float32(0.5), "n": np.int64(3), "nan": float("nan"), "t": torch.float32, "s": {2}, "b": True}
    assert _plain(values) == {"('a', 1)": 0.5, "n": 3, "nan": "nan", "t": "torch.float32", "s": [2], "b": True}


# --- refusals ------------------------------------------------------------------------------------------------


def test_weights_are_restored_when_the_harness_raises(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    lm = tiny_lm("llama")
    folder = task("sums", CHOICES, MULTIPLE_CHOICE)
    (folder / "own.py").write_text("def fail(doc, results):\n    raise ValueError('no such score')\n")
    path = folder / "sums.yaml"
    path.write_text(path.read_text() + "process_results: !function own.fail\n")
    before = weights(lm)
    with pytest.raises(InputError, match="cannot carry out sums: ValueError: no such score"):
        harness_results(lm, Lane(subspace_of(lm)), ["sums"], include_path=folder)
    assert_unchanged(lm, before)


def test_what_was_made_for_another_model_is_refused(
    tmp_path: Path, tiny_lm: Callable[[str], Any], task: Callable[..., Path]
) -> None:
    lm, other, folder = tiny_lm("llama"), tiny_lm("mistral"), task("sums", CHOICES, MULTIPLE_CHOICE)
    with pytest.raises(ModelError, match="captured on"):
        harness_results(lm, Lane(subspace_of(other)), ["sums"], include_path=folder)
    adapter = adapter_of(other, peft_model(other), tmp_path / "adapter")
    with pytest.raises(ModelError, match="trained on"):
        harness_results(lm, Lane(adapter=adapter), ["sums"], include_path=folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unsafe_code": True}, "runs code that the model writes.*spd_core table"),
        ({"metric_list": [{"metric": "bertscore"}]}, "metric 'bertscore', which is code to be downloaded"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "code to be downloaded"),
        ({"output_type": "guess"}, "broken: ValueError.*output_type 'guess'.*sums.yaml"),
        ({"flavour": 3}, "broken: TypeError.*flavour.*sums.yaml"),
        ({"test_split": "exam"}, "broken: KeyError.*exam"),
        ({"doc_to_text": "{{question"}, "broken: TemplateSyntaxError"),
        ({"dataset_kwargs": {"data_files": {"test": "/nowhere/x.jsonl"}}}, "broken: FileNotFoundError.*nowhere"),
        ({"dataset_path": "someone/something", "dataset_kwargs": {}}, "data of task 'sums' is out of reach.*HF_HOME"),
    ],
)
def test_a_task_that_cannot_be_asked_says_why(
    changes: dict[str, Any],
    message: str,
    tiny_lm: Callable[[str], Any],
    task: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datasets

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = task("sums", CHOICES, MULTIPLE_CHOICE, **changes)
    with pytest.raises(InputError, match=message):
        harness_results(tiny_lm("llama"), Lane(), ["sums"], include_path=folder)


@pytest.mark.parametrize("asked", ["sums", "both", "inner", "coding"])
def test_code_of_a_model_is_refused_wherever_it_hides(asked: str, task: Callable[..., Path]) -> None:
    folder = task("sums", CHOICES, MULTIPLE_CHOICE, unsafe_code=True, tag="coding")
    task("safe", CHOICES, MULTIPLE_CHOICE)
    trace = folder / "imported"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\ndef choices(doc):\n    return ['a', 'b']\n")
    path = folder / "sums.yaml"
    path.write_text(path.read_text().replace("'{{choices}}'", "!function own.choices"))
    (folder / "both.yaml").write_text(yaml.safe_dump({"group": "both", "task": ["safe", "inner"]}))
    (folder / "inner.yaml").write_text(yaml.safe_dump({"group": "inner", "task": [{"task": "sums", "num_fewshot": 0}]}))
    with pytest.raises(InputError, match="task 'sums' runs code that the model writes"):
        check_tasks(["safe", asked], folder)
    assert not trace.exists(), "refused before its Python is run"
    check_tasks(["safe"], folder)


def test_a_task_in_python_that_runs_code_is_refused(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    folder = task("safe", CHOICES, MULTIPLE_CHOICE)
    settings = {**yaml.safe_load((folder / "safe.yaml").read_text()), "task": "classed"}
    (folder / "own.py").write_text(
        "from lm_eval.api.task import ConfigurableTask\n"
        "class Unsafe(ConfigurableTask):\n"
        "    UNSAFE_CODE = True\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config={k: v for k, v in config.items() if k != 'class'})\n"
    )
    (folder / "classed.yaml").write_text(yaml.safe_dump(settings) + "class: !function own.Unsafe\n")
    with pytest.raises(InputError, match="task 'classed' runs code that the model writes"):
        harness_results(tiny_lm("llama"), Lane(), ["classed"], include_path=folder)


def test_folders_and_numbers_that_cannot_be(tiny_lm: Callable[[str], Any], task: Callable[..., Path]) -> None:
    folder = task("sums", CHOICES, MULTIPLE_CHOICE)
    with pytest.raises(InputError, match="no task to ask"):
        check_tasks([], folder)
    with pytest.raises(InputError, match="no folder of tasks at .*nowhere"):
        check_tasks(["sums"], folder / "nowhere")
    for name, value in (("limit", 0), ("batch_size", 0), ("num_fewshot", -1)):
        with pytest.raises(InputError, match=f"{name} {value} is too small"):
            harness_results(tiny_lm("llama"), Lane(), ["sums"], include_path=folder, **{name: value})
    (folder / "odd.yaml").write_text("task: [sums\n")
    with pytest.raises(InputError, match=r"odd\.yaml is no YAML"):
        check_tasks(["sums"], folder)


@pytest.mark.slow
def test_the_harness_own_tasks_are_known(task: Callable[..., Path]) -> None:
    folder = task("my_sums", CHOICES, MULTIPLE_CHOICE)
    with pytest.raises(InputError, match=r"no task 'arc_eazy'; near ones: .*arc_easy"):
        check_tasks(["arc_eazy"])
    with pytest.raises(InputError, match=r"no task 'my_sum'; near ones: my_sums"):
        check_tasks(["my_sum"], folder)
    for name in ("mbpp", "humaneval"):
        with pytest.raises(InputError, match="runs code that the model writes"):
            check_tasks([name])
    check_tasks(["gsm8k", "my_sums", "mmlu"], folder)


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_writes_one_file(
    run: Run, llama: Path, subspace: Path, task: Callable[..., Path], tmp_path: Path
) -> None:
    folder, out = task("sums", CHOICES, MULTIPLE_CHOICE), tmp_path / "results.json"
    asked = ("harness", "--tasks", "sums", "--include-path", folder, "--model", llama, "--out", out, "--limit", "8")
    done = run(*asked, "--dtype", "float32", "--subspace", subspace, "--strength", "0.5", "--random", "3")
    assert done.code == 0, done.err
    assert "sums: acc 0." in done.out
    assert "(n = 8, 0-shot" in done.out
    found = json.loads(out.read_text())
    assert "loss none (random subspace), α 0.5" in found["spd_lab"]["lane"]
    assert found["spd_lab"]["projection"]["subspace"]["seed"] == 3
    before = out.read_bytes()
    assert run(*asked).code == 6, "an --out that is there"
    assert out.read_bytes() == before
    done = run(*asked, "--overwrite", "--json")
    assert (
        json.loads(done.out)["results"]["sums"]["acc,none"]
        == json.loads(out.read_text())["results"]["sums"]["acc,none"]
    )
    assert json.loads(done.out)["lane"] == "the base model"


def test_the_command_tunes_by_an_adapter(
    run: Run, llama: Path, tiny_lm: Callable[[str], Any], task: Callable[..., Path], tmp_path: Path
) -> None:
    lm, folder, out = tiny_lm("llama"), task("sums", CHOICES, MULTIPLE_CHOICE), tmp_path / "results.json"
    adapter_of(lm, peft_model(lm), tmp_path / "adapter")
    asked = ("harness", "--tasks", "sums", "--include-path", folder, "--model", llama, "--out", out)
    assert run(*asked, "--adapter", tmp_path / "adapter", "--dtype", "float32").code == 0
    assert json.loads(out.read_text())["spd_lab"]["lane"].startswith("tuned by SPD")
    assert run(*asked, "--adapter", "no-run/spd", "--overwrite").code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--complement"], "add --subspace DIR"),
        (["--random", "3"], "add --subspace DIR"),
        (["--strength", "0.5"], "add --subspace DIR"),
        (["--subspace", "nowhere"], "nowhere"),
        (["--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_wrong_options_are_told_before_anything_is_loaded(
    options: list[str], message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    done = run("harness", "--tasks", "sums", "--model", "./nowhere", "--out", tmp_path / "x.json", *options)
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize(("options", "message"), [(["--kinds", "query"], "choose key"), (["--layers", "a"], "12,23")])
def test_kinds_and_layers_are_checked(
    options: list[str], message: str, run: Run, subspace: Path, tmp_path: Path
) -> None:
    done = run("harness", "--tasks", "x", "--subspace", subspace, "--out", tmp_path / "x.json", *options)
    assert (done.code, message in done.err) == (2, True)


def test_without_the_library_the_remedy_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    done = run("harness", "--tasks", "arc_easy", "--model", "./nowhere", "--out", tmp_path / "x.json")
    assert done.code == 2
    assert "pip install -r requirements-eval.txt" in done.err
    assert not (tmp_path / "x.json").exists()
