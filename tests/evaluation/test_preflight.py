"""What is known to fail is refused before anything starts, by name, value and remedy; and what is fine is not."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from spd_core.data.capability import BUILTIN_FOLDER
from spd_core.distill import checks
from spd_core.engines import serving
from spd_core.errors import InputError, MemoryLimitError, SpdError, StorageError
from spd_core.evaluation import preflight
from spd_core.evaluation.preflight import check, refusal
from spd_core.models import device
from spd_core.models.described import describe_model
from spd_core.recipes.distill import ARMS, recipe_from
from spd_core.recipes.evaluation import NAMED, evaluation_from
from spd_core.recipes.presets import PRESETS
from spd_core.runs import queue
from spd_core.runs.costs import BUILTIN_RATES, adapter_bytes
from spd_core.storage import spd_home
from tests import ROOT, shell
from tests.bad_recipes import BAD, BAD_EVALUATIONS, BAD_TO_READ
from tests.distill.test_trained import run_of
from tests.shell import ROWS, Run, write
from tests.tiny import byte_tokenizer

run = shell.run
QUICK = {"preset": "quick", "capability": "arithmetic"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in which nothing starts."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SPD_ALLOW_CODE", raising=False)
    monkeypatch.setattr(queue, "start_next", list)
    return tmp_path / "home"


def files() -> list[Path]:
    return [path for path in spd_home().rglob("*") if path.is_file()]


# --- refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_a_recipe_that_cannot_be_is_refused_at_once(name: str) -> None:
    settings, said = BAD[name]
    with pytest.raises(SpdError, match=said):
        check(recipe_from({**QUICK, **settings}), ask=False)


@pytest.mark.parametrize("name", BAD_EVALUATIONS)
def test_an_evaluation_that_cannot_be_is_refused_at_once(name: str) -> None:
    settings, said = BAD_EVALUATIONS[name]
    with pytest.raises(SpdError, match=said):
        check(evaluation_from({**QUICK, **settings}), ask=False)


@pytest.mark.parametrize(
    ("command", "settings", "said"),
    [*(("distill", *case) for case in (*BAD.values(), *BAD_TO_READ.values())),
     *(("table", *case) for case in BAD_EVALUATIONS.values())],
)  # fmt: skip
@pytest.mark.parametrize("more", [(), ("--detach",)])
def test_the_shell_refuses_it_before_any_file_is_written(
    command: str, settings: dict[str, Any], said: str, more: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**QUICK, **settings}))
    done = run(command, path, *more)
    assert done.code in (2, 3)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(done.err)
    assert files() == []


def test_a_launcher_that_is_not_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(QUICK))
    done = run("distill", tmp_path / "recipe.json", "--detach", "--launcher", "no-such-launcher -n 2")
    assert (done.code, files()) == (2, [])
    assert "launcher 'no-such-launcher -n 2': no such command here" in done.err


def test_settings_that_went_bad_while_it_waited_are_refused_by_the_job(run: Run, tmp_path: Path) -> None:
    """What is checked before it waits is checked again when its turn has come."""
    own = write(tmp_path / "own.jsonl", *ROWS, *({**row, "split": "train"} for row in ROWS))
    waiting = queue.create(recipe_from({"capability": str(own), "arms": ["psr"]}))
    own.write_text(json.dumps(ROWS[0]) + "\n")
    done = run("distill", "--run", waiting.id)
    assert done.code == 2
    assert "has no train examples" in done.err
    assert waiting.status().state == "failed"
    assert not (waiting.folder / "corpora").exists()


def test_what_nobody_checked_before_it_waited_is_refused_by_the_job(run: Run) -> None:
    waiting = queue.create(recipe_from({**QUICK, "capture": {"layers": "a,b"}}))
    done = run("distill", "--run", waiting.id)
    assert "capture.layers 'a,b': unknown layer 'a'" in done.err
    assert waiting.status().state == "failed"
    assert not (spd_home() / "models").exists(), "not even its model was made ready"


# --- not refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("capability", ["arithmetic", "multiple-choice", "python-functions", "gsm8k", "svamp"])
def test_presets_pass(preset: str, capability: str) -> None:
    without = {"without": ["mmlu"]}
    everything = {"arms": list(ARMS), "capture": without, "omniopd": {"teacher": "builtin"}}
    check(recipe_from({"preset": preset, "capability": capability, **everything}), ask=False)


def test_evaluations_of_everything_pass() -> None:
    sets = ["arithmetic", "gsm8k", {"capability": "codealpaca", "split": "train"}, "python-functions"]
    everything = {"subjects": list(NAMED), "sets": sets, "allow_code": True, "capture": {"without": ["mmlu"]},
                  "omniopd": {"teacher": "builtin"}}  # fmt: skip
    check(evaluation_from({**QUICK, **everything}), ask=False)
    recorded = {"kind": "projected", "capture": "arithmetic", "rank": "40", "layers": [15]}
    check(evaluation_from({**QUICK, "subjects": ["base", recorded]}), ask=False)


@pytest.mark.parametrize(
    "settings",
    [{"capture": {"rank": "192", "layers": "all"}}, {"capture": {"rank": "energy:0.95"}}, {"train": {"lora_r": 192}},
     {"train": {"lora_r": 500, "lora_targets": ["q", "o"]}}, {"train": {"learning_rate": 1.0}},
     {"corpus": {"max_new_tokens": 8000, "prompts": 20}}, {"model": "org/model", "capture": {"rank": "2000"}}],
)  # fmt: skip
def test_what_just_fits_passes(settings: dict[str, Any]) -> None:
    check(recipe_from({**QUICK, **settings}), ask=False)


def test_nothing_heavy_is_imported_and_nothing_written_for_a_page() -> None:
    program = (
        "import sys; from spd_core.evaluation.preflight import check; from spd_core.recipes.distill import Recipe; "
        "check(Recipe(capability='arithmetic'), ask=False); check(Recipe(capability='gsm8k', model='a/b'), ask=False); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
    assert files() == []


# --- time, disk, memory: how much is too much -----------------------------------------------------------------------


def test_the_estimate_is_that_of_the_rates() -> None:
    """Epochs so that training alone takes 20 and 40 days at the built-in model's rates, counted by hand."""
    rows = shell.read(BUILTIN_FOLDER / "arithmetic.jsonl")
    prompts = [row["prompt"] for row in rows if row.get("split") == "train"][:48]
    characters = sum(len("Question: {prompt}\nAnswer:") + len(prompt) for prompt in prompts) / 48
    per_epoch = 3 * 40 * (24 + characters / 3.6) / BUILTIN_RATES.train  # arms, rows, tokens of a row
    twenty, forty = (round(days * 86400 / per_epoch) for days in (20, 40))
    check(recipe_from({**QUICK, "train": {"epochs": twenty}}), ask=False)
    with pytest.raises(InputError, match="would take about (39|40) days"):
        check(recipe_from({**QUICK, "train": {"epochs": forty}}), ask=False)


def test_without_room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_space", lambda: 5 * 2**20)
    with pytest.raises(StorageError, match="need up to .* MiB of disk, and 5 MiB are free; delete old runs"):
        check(recipe_from(QUICK), ask=False)


def test_arms_that_are_trained_already_need_no_disk_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = evaluation_from({**QUICK, "subjects": ["base", "psr"], "sets": ["arithmetic"]})
    arms = recipe.distillation(recipe.seeds[0])
    assert arms is not None
    monkeypatch.setattr(checks, "free_space", lambda: 5 * 2**10)
    with pytest.raises(StorageError, match="MiB of disk"):
        check(recipe, ask=False)
    run_of(arms)
    check(recipe, ask=False)


@pytest.fixture
def tiny(family_folder: Callable[[str], Path], tmp_path: Path) -> dict[str, Any]:
    """A recipe of a tiny model: 3 layers, d_kv 16, a context of 256 bytes."""
    own = write(tmp_path / "own.jsonl", *ROWS, *({**row, "split": "train"} for row in ROWS))
    return {"capability": str(own), "model": str(family_folder("llama")), "corpus": {"max_new_tokens": 20}}


def test_without_memory_on_this_machine(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    check(recipe_from(tiny))
    monkeypatch.setattr(device, "total_memory", lambda _device: 2**20)
    with pytest.raises(MemoryLimitError, match=r"corpus.batch_size 32 and train.batch_size 8 .* this machine has 0.0"):
        check(recipe_from(tiny))
    check(recipe_from(tiny), ask=False)
    check(recipe_from(tiny), f"{sys.executable} -m accelerate.commands.launch")


def test_without_room_for_the_checkpoint_that_vllm_serves(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte too few is refused: of the numbers in the model's file, and beside them adapters and corpora."""
    monkeypatch.setenv("SPD_VLLM", sys.executable)
    monkeypatch.setattr(serving, "vllm_version", lambda: "vllm 1.0")
    weights = 4 * sum(tensor.numel() for tensor in load_file(Path(tiny["model"]) / "model.safetensors").values())
    card = describe_model(tiny["model"]).card
    assert card is not None
    rows = sum(row.get("split") == "train" for row in shell.read(Path(tiny["capability"])))
    beside = 2 * adapter_bytes(card, 8) + 40 * rows * 20
    through, short = {"writer": {"kind": "vllm"}}, {"arms": ["psr"], "dtype": "float32", "drift": False}
    corpus = recipe_from({**tiny, **short, "corpus": {**tiny["corpus"], **through}})
    sets = [{"capability": tiny["capability"], "split": "train"}]
    first = {what: tiny[what] for what in ("capability", "model")}
    table = evaluation_from({**first, **through, "dtype": "float32", "subjects": ["base"], "sets": sets})
    for recipe, needed in ((corpus, beside + weights), (table, weights)):
        monkeypatch.setattr(checks, "free_space", lambda needed=needed: needed)
        check(recipe)
        monkeypatch.setattr(checks, "free_space", lambda needed=needed: needed - 1)
        with pytest.raises(StorageError, match="checkpoint that vLLM serves need.* choose the writer local"):
            check(recipe)
        check(recipe, ask=False)


def test_prompts_are_counted_with_the_models_own_tokenizer(tiny: dict[str, Any]) -> None:
    """One token a byte: `Question: 1 + 4?` and `Answer:` are 24 with the line between them."""
    assert len(byte_tokenizer()("Question: 1 + 4?\nAnswer:")["input_ids"]) == 24
    check(recipe_from({**tiny, "corpus": {"max_new_tokens": 232}}))
    with pytest.raises(InputError, match="corpus.max_new_tokens 233: the longest prompt has 24 tokens, .* 256"):
        check(recipe_from({**tiny, "corpus": {"max_new_tokens": 233}}))


def test_a_rank_above_what_a_saved_capture_has() -> None:
    """The recorded capture has 192 directions, and its own number of non-zero ones."""
    from spd_core.subspace.store import open_capture

    least = min((found.values > 1e-6 * found.values.max()).sum() for found in open_capture("arithmetic").sites.values())
    subject = {"kind": "projected", "capture": "arithmetic"}
    check(evaluation_from({**QUICK, "subjects": ["base", {**subject, "rank": str(least)}]}))
    if least < 192:
        with pytest.raises(InputError, match="non-zero singular values"):
            check(evaluation_from({**QUICK, "subjects": ["base", {**subject, "rank": "192"}]}))
    with pytest.raises(InputError, match=r"layers \[3\] of .* are not in its subspace"):
        check(evaluation_from({**QUICK, "subjects": ["base", {**subject, "layers": [3]}]}))
    with pytest.raises(InputError, match="the capture 'arithmetic' is of builtin, and not of org/model"):
        check(evaluation_from({**QUICK, "model": "org/model", "subjects": ["base", subject]}))


def test_a_refusal_in_words() -> None:
    assert refusal(recipe_from(QUICK), ask=False) == ""
    assert "unknown layer 'x'" in refusal(recipe_from({**QUICK, "capture": {"layers": "x"}}), ask=False)
    assert preflight.refusal(recipe_from(QUICK), "no-such-launcher", ask=False).startswith("launcher")
