"""For every bad input the exit code and the message; full disks and interrupts leave what was there."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config

from spd_core.generation import decode
from spd_core.models.device import choose_device, choose_dtype
from spd_core.subspace import capture, store
from tests import shell
from tests.shell import ROOT, ROWS, Run, write

run, llama, sums, prompts, subspace = shell.run, shell.llama, shell.sums, shell.prompts, shell.subspace

GOOD = json.dumps(ROWS[0])


def full_disk(*_args: Any, **_options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_safetensors(*_args: Any, **_options: Any) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def interrupt(*_args: Any, **_options: Any) -> None:
    raise KeyboardInterrupt


def matches(pattern: str, said: str) -> bool:
    """Whether the last line on stderr is an error of this form."""
    return re.search(f"^error: .*{pattern}", said.splitlines()[-1]) is not None


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An output that is already there, alone in its folder."""
    out = tmp_path / "results" / "out"
    out.mkdir(parents=True)
    (out / "mine").write_text("old")
    return out


def untouched(old: Path) -> bool:
    """Whether the older output is as it was, with nothing beside it."""
    return [p.name for p in old.parent.iterdir()] == ["out"] and (old / "mine").read_text() == "old"


# --- capture -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*bad.jsonl: No such file or directory; check the path"),
        (f"{GOOD}\n\n{{'prompt': 1}}", "bad.jsonl, line 3: not JSON .*; write one object a line"),
        (f'{GOOD}\n{{"prompt": "x"}}', "bad.jsonl, line 2: answer: Field required"),
        ("", "bad.jsonl holds no example; add rows such as"),
        ('{"prompt": "x", "answer": "y", "split": "train"}', "bad has no calibration examples; mark some with"),
        ('{"id": "a", "prompt": "x", "answer": "y", "spans": "number"}',
         r"no example of bad survives \(1 skipped; the first, a: the span rule finds nothing\)"),
    ],
)  # fmt: skip
def test_a_bad_capability(run: Run, llama: Path, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    if text is not None:
        path.write_text(text)
    done = run("capture", "--model", llama, "--capability", path, "--out", tmp_path / "out")
    assert (done.code, done.out) == (2, "")
    assert matches(message, done.err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rank", "0", r"layer 1 key: rank 0 is outside 1 to 16 \(d_kv 16\); choose a rank from 1 to \d+"),
        ("--rank", "17", r"rank 17 is outside 1 to 16 \(d_kv 16\); choose a rank from 1 to \d+"),
        ("--rank", "energy:2", "unknown rank 'energy:2'; use half, energy:x"),
        ("--rank", "most", "unknown rank 'most'"),
        ("--layers", "3", "unknown layer '3'; use middle, last, all, or indices from 0 to 2"),
        ("--layers", "first", "unknown layer 'first'"),
        ("--capability", "arithmetics", "unknown capability 'arithmetics'; built in: arithmetic"),
        ("--loss", "solution", "line-1: the loss solution is for code with tests; use aligned or full"),
    ],
)
def test_a_bad_setting(
    run: Run, llama: Path, sums: Path, tmp_path: Path, option: str, value: str, message: str
) -> None:
    options = {"--model": llama, "--capability": sums, "--out": tmp_path / "out"} | {option: value}
    done = run("capture", *(part for pair in options.items() for part in pair))
    assert done.code == 2
    assert matches(message, done.err)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there(run: Run, sums: Path, tmp_path: Path) -> None:
    done = run("capture", "--model", "./absent", "--capability", sums, "--out", tmp_path / "out")
    assert done.code == 3
    assert "error: no model folder at ./absent; check the path" in done.err


def test_weights_that_are_not_numbers_name_the_example(run: Run, llama: Path, sums: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(llama, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    done = run("capture", "--model", broken, "--capability", sums, "--out", tmp_path / "out")
    assert done.code == 5
    assert matches(rf"example line-\d: the loss is nan in {choose_dtype('auto', choose_device())}", done.err)
    assert not (tmp_path / "out").exists()


def test_an_example_longer_than_the_models_context(run: Run, tokenizer: Any, sums: Path, tmp_path: Path) -> None:
    """The position table of this model ends at 16, well below the 256 tokens of a capture."""
    short = tmp_path / "short"
    config = GPT2Config(vocab_size=260, n_embd=32, n_head=4, n_layer=3, n_positions=16)
    AutoModelForCausalLM.from_config(config).save_pretrained(short)
    tokenizer.save_pretrained(short)
    done = run("capture", "--model", short, "--capability", sums, "--out", tmp_path / "out")
    assert done.code == 2
    assert "is cut off at 16 tokens" in done.err


# --- generate and export -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["generate", "export"])
def test_a_subspace_of_another_model_names_both(
    run: Run, command: str, llama: Path, family_folder: Any, subspace: Path, prompts: Path, tmp_path: Path
) -> None:
    other = family_folder("qwen2")
    more = ["--prompts", prompts, "--max-new-tokens", 3] if command == "generate" else []
    done = run(command, "--model", other, "--subspace", subspace, "--out", tmp_path / "out", *more)
    assert done.code == 3
    assert matches(f"captured on {llama} .*and the model is {other}", done.err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["truncated", "without weights", "absent", "record cut"])
def test_a_damaged_subspace(run: Run, llama: Path, subspace: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    if damage != "absent":
        shutil.copytree(subspace, copy)
    if damage == "truncated":
        os.truncate(copy / "analysis.safetensors", 2000)
    elif damage == "without weights":
        (copy / "analysis.safetensors").unlink()
    elif damage == "record cut":
        os.truncate(copy / "analysis.json", 100)
    done = run("export", "--model", llama, "--subspace", copy, "--out", tmp_path / "out")
    assert done.code == 2
    cut = damage in ("truncated", "record cut")
    expected = "holds no valid capture .*it may be cut off: capture again" if cut else "no capture at .*capture"
    assert matches(expected, done.err)
    assert str(copy) in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*p.jsonl"),
        ("\n", "p.jsonl holds no prompt; add rows such as"),
        ('{"prompt": "x"}\n{"text": "y"}', 'p.jsonl, line 2: no text under "prompt"'),
        ('{"prompt": ""}', 'p.jsonl, line 1: no text under "prompt"'),
        ('{"prompt": "\\ud800"}', "p.jsonl, line 1: .*surrogates not allowed"),
        ("[]", "p.jsonl, line 1: a JSON list"),
        (json.dumps({"prompt": "x" * 250}), "is 250 tokens long, and the model's context of 256 leaves 246 beside 10"),
    ],
)
def test_bad_prompts(run: Run, llama: Path, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "p.jsonl"
    if text is not None:
        path.write_text(text)
    options = ["--prompts", path, "--out", tmp_path / "out", "--lanes", "raw", "--max-new-tokens", 10]
    done = run("generate", "--model", llama, *options)
    assert done.code == 2
    assert matches(message, done.err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lanes", "raw,random"], "lanes 'raw,random': choose each of raw, projected, complement"),
        (["--lanes", "raw,raw"], "at most once"),
        (["--lanes", "projected"], "need --subspace: the folder or the name of a capture"),
        (["--lanes", "raw", "--temperature", "-1"], "temperature -1.0 is not a number from 0"),
        (["--lanes", "raw", "--temperature", "nan"], "temperature nan"),
        (["--lanes", "raw", "--top-p", "0"], "top-p 0.0 is not above 0"),
        (["--lanes", "raw", "--max-new-tokens", "0"], "max new tokens 0 is below 1"),
        (["--lanes", "raw", "--seed", "-1"], "seed -1 is not from 0"),
    ],
)
def test_bad_generation_settings(
    run: Run, llama: Path, prompts: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    done = run("generate", "--model", llama, "--prompts", prompts, "--out", tmp_path / "out", *options)
    assert (done.code, message in done.err) == (2, True), done.err


# --- a full disk, and interrupts -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", [(store, "save_file", full_safetensors), (os, "fsync", full_disk)])
def test_a_full_disk_while_capturing(
    run: Run, llama: Path, sums: Path, old: Path, monkeypatch: pytest.MonkeyPatch, where: tuple[Any, str, Any]
) -> None:
    monkeypatch.setattr(*where)
    done = run("capture", "--model", llama, "--capability", sums, "--out", old, "--overwrite")
    assert done.code == 6
    assert matches("cannot write .*No space left on device.*what was there is unchanged", done.err)
    assert untouched(old)


@pytest.mark.parametrize("command", ["generate", "export"])
def test_a_full_disk_while_writing(
    run: Run, command: str, llama: Path, subspace: Path, prompts: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    more = ["--prompts", prompts, "--max-new-tokens", 3] if command == "generate" else []
    done = run(command, "--model", llama, "--subspace", subspace, "--out", old, "--overwrite", *more)
    assert done.code == 6
    assert "No space left on device" in done.err
    assert untouched(old)


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("capture", (capture, "batch_gradients")),
        ("capture", (store, "save_file")),
        ("generate", (decode, "choose")),
        ("generate", (os, "fsync")),
        ("export", (os, "fsync")),
    ],
)
def test_an_interrupt_leaves_what_was_there(
    run: Run, command: str, where: Any, llama: Path, sums: Path, subspace: Path, prompts: Path, old: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(*where, interrupt)
    more = ["--capability", sums] if command == "capture" else ["--subspace", subspace]
    more += ["--prompts", prompts, "--max-new-tokens", 3] if command == "generate" else []
    done = run(command, "--model", llama, "--out", old, "--overwrite", *more)
    assert done.code == 130
    assert done.err.endswith("interrupted; nothing was written, and what was there is unchanged\n")
    assert untouched(old)


@pytest.mark.slow
def test_ctrl_c_in_a_real_process(llama: Path, old: Path, tmp_path: Path) -> None:
    many = write(tmp_path / "many.jsonl", *({"prompt": f"{i} + 1 ="} for i in range(500)))
    command = [sys.executable, "-m", "spd_core", "generate", "--model", llama, "--prompts", many, "--lanes", "raw"]
    command += ["--batch-size", "1", "--max-new-tokens", "200", "--out", old, "--overwrite"]
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits "ignore"
    try:
        running = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, ours)
    with running:
        assert running.stderr is not None
        said = b""
        while b"Writing" not in said:
            piece = os.read(running.stderr.fileno(), 4096)
            assert piece, said
            said += piece
        running.send_signal(signal.SIGINT)
        said += running.stderr.read()
        assert running.wait() == 130, said
    assert b"interrupted; nothing was written" in said
    assert untouched(old)
