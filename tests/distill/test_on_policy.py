"""Training on what the student writes: the loss of whole steps, what counts in it, and that nothing changes it."""

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.distill import batches
from spd_core.distill.audits import AUDITS, Audit, read_audits
from spd_core.distill.checkpoints import ADAPTER
from spd_core.distill.rollouts import Learning, write_rollouts
from spd_core.distill.teachers import SelfTeacher
from spd_core.errors import InputError, Stopped, TrainingError
from spd_core.intervention.projection import Lane, projecting
from spd_core.peers import Peers
from spd_core.recipes.lanes import Sampling
from spd_core.runs import parallel
from tests import ROOT
from tests.distill.students import (
    CHUNKS,
    DRAWN,
    QUICK,
    Watched,
    asked,
    ending,
    levenshtein,
    omniopd,
    same_weights,
    trained,
    watched,
    weights,
)
from tests.intervention.test_projection import subspace_of
from tests.waiting import LONG

__all__ = ["watched"]  # a fixture


@pytest.fixture
def lm(tiny_lm: Callable[[str], Any]) -> Any:
    """One that ends its rollouts at different lengths."""
    return ending(tiny_lm("llama"))


# --- the loss ----------------------------------------------------------------------------------------------------


def one_token_at_a_time(lm: Any, student: Any, inputs: dict[str, Any], audits: list[Audit]) -> torch.Tensor:
    """OmniOPD's loss of a step in float64: row by row without padding, token by token, k by the textbook's table."""
    base = copy.deepcopy(lm.model).double()
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for at, mask in enumerate(inputs["completion_mask"]):
        prompt = inputs["prompt_ids"][at][inputs["prompt_mask"][at] == 1].tolist()
        written = inputs["completion_ids"][at][mask == 1].tolist()
        (audit,) = [one for one in audits if one.prompt == f"asked {lm.tokenizer.decode(prompt)}"]
        own = student(torch.tensor([[*prompt, *written]])).logits[0, len(prompt) - 1 :].log_softmax(-1)
        with torch.no_grad():
            held = base(torch.tensor([[*prompt, *written]])).logits[0, len(prompt) - 1 :].log_softmax(-1)
        inside = {t: chunk for chunk in audit.chunks for t in range(chunk.start, chunk.start + CHUNKS.chunk_tokens)}
        for t, token in enumerate(written):
            tokens += 1
            if t not in inside:
                total = total + CHUNKS.anchor * (held[t].exp() * (held[t] - own[t])).sum()
                continue
            chunk = inside[t]
            k = sum(1 - levenshtein(chunk.own, one) / max(len(chunk.own), len(one), 1) for one in chunk.others)
            among = [float(own[u, written[u]].detach()) for u, other in inside.items() if other is chunk]
            prior = exp(sum(among) / CHUNKS.chunk_tokens)
            total = total - (k + CHUNKS.prior * prior) / (CHUNKS.samples + CHUNKS.prior) * own[t, token]
    return total / tokens


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "cohere", "granite"])
def test_a_whole_step_is_that_of_a_slow_loop_in_float64(
    family: str, tiny_lm: Callable[[str], Any], watched: Watched, tmp_path: Path
) -> None:
    lm = ending(tiny_lm(family), 60 if family == "gemma2" else 24)
    trained(lm, omniopd(lm), tmp_path)
    audits = read_audits(tmp_path / AUDITS)
    assert any(len(one.chunks) == 2 for one in audits)
    assert len({len(one.tokens) for one in audits}) > 2
    for step, inputs in enumerate(watched.inputs):
        student = watched.students[step].double().eval()
        student.zero_grad()
        loss = one_token_at_a_time(lm, student, inputs, [one for one in audits if one.step == step + 1])
        loss.backward()
        assert watched.losses[step] == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-6)
        expected = {name: one.grad for name, one in student.named_parameters() if one.grad is not None}
        assert expected.keys() == watched.gradients[step].keys()
        scale = max(float(one.abs().max()) for one in expected.values())
        assert scale > 1e-3
        for name, gradient in watched.gradients[step].items():
            torch.testing.assert_close(gradient.double(), expected[name], rtol=1e-4, atol=1e-5 * scale)


def test_prompt_and_padding_are_never_in_the_loss(lm: Any, watched: Watched, tmp_path: Path) -> None:
    """What stands in the padding, and how much of it there is, changes neither the loss nor its gradient."""
    found: list[tuple[float, list[torch.Tensor]]] = []

    def look(trainer: Any, student: Any, inputs: dict[str, torch.Tensor]) -> None:
        changed = {name: value.clone() for name, value in inputs.items()}
        for part in ("prompt", "completion"):
            ids, mask = changed[f"{part}_ids"], changed[f"{part}_mask"]
            assert bool((mask == 0).any())
            ids[mask == 0] = 77
            more = torch.full((len(ids), 3), 99)
            sides = (more, ids) if part == "prompt" else (ids, more)
            zeros = torch.zeros_like(more)
            changed[f"{part}_ids"] = torch.cat(sides, 1)
            changed[f"{part}_mask"] = torch.cat((zeros, mask) if part == "prompt" else (mask, zeros), 1)
        changed["entropies"] = torch.nn.functional.pad(changed["entropies"], (0, 3))
        for one in (inputs, changed):
            loss, _, count = trainer._compute_loss(student, one, torch.tensor(1.0))
            assert int(count) == int(inputs["drawn"].sum())
            loss.backward()
            adapter = [weight for name, weight in student.named_parameters() if "lora" in name]
            found.append((float(loss.detach()), [weight.grad.clone() for weight in adapter]))
            student.zero_grad()

    watched.within.append(look)
    trained(lm, omniopd(lm), tmp_path)
    for (plain, gradients), (padded, others) in zip(found[::2], found[1::2], strict=True):
        assert plain == pytest.approx(padded, rel=1e-5, abs=1e-5)
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_rollout_shorter_than_a_chunk_has_none_and_at_the_start_nothing_to_learn(
    lm: Any, watched: Watched, tmp_path: Path
) -> None:
    news = trained(lm, omniopd(lm, n=4, chunk_tokens=13), tmp_path).news
    audits = read_audits(tmp_path / AUDITS)
    assert [one.chunks for one in audits] == [()] * 4
    assert all(one.divergence == 0 for one in audits)
    assert [one.loss for one in news] == [0.0]
    assert [one.grad_norm for one in news] == [0.0]
    assert all(not bool(one.any()) for name, one in weights(tmp_path).items() if "lora_B" in name)


def test_a_rollout_of_exactly_one_chunk_is_all_of_it(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    """Of a model that knows no end, so that all rollouts are cut."""
    tokenizer = copy.deepcopy(tiny_lm("llama").tokenizer)
    tokenizer.eos_token = None
    lm = dataclasses.replace(ending(tiny_lm("llama")), tokenizer=tokenizer)
    lm.model.generation_config.eos_token_id = None
    trained(lm, omniopd(lm, n=4, chunk_tokens=12), tmp_path)
    audits = read_audits(tmp_path / AUDITS)
    assert len(audits) == 4
    for one in audits:
        assert [chunk.start for chunk in one.chunks] == [0]
        assert one.divergence is None, "no token is left for it"


def test_a_strong_anchor_keeps_the_student_at_the_untouched_model(lm: Any, tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"epochs": 6})
    apart = {}
    for beta in (0.0, 1e5):
        folder = tmp_path / str(beta)
        trained(lm, omniopd(lm, anchor=beta), folder, settings)
        last = [one for one in read_audits(folder / AUDITS) if one.step == 12]
        apart[beta] = sum(one.divergence or 0.0 for one in last) / len(last)
    assert apart[1e5] < 0.2 * apart[0.0], "Adam's steps have a size of their own, so it is not 0"


def test_a_greedy_copy_of_a_greedy_student_agrees_with_all_of_it(lm: Any, tmp_path: Path) -> None:
    greedy = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=12)
    trained(lm, omniopd(lm, n=4, rollout=greedy, temperature=0.0), tmp_path)
    chunks = [chunk for one in read_audits(tmp_path / AUDITS) for chunk in one.chunks]
    assert len(chunks) > 4
    for chunk in chunks:
        assert chunk.others == (chunk.own,) * 3
        assert chunk.similar == (1.0, 1.0, 1.0)
        assert chunk.target == pytest.approx((3 + chunk.prior) / 4, abs=1e-5)


def test_a_sum_over_rows_is_that_over_tokens_divided_otherwise(lm: Any, watched: Watched, tmp_path: Path) -> None:
    for by in ("tokens", "rows"):
        trained(lm, omniopd(lm, n=4, divide_by=by), tmp_path / by)
    tokens = int(watched.inputs[0]["completion_mask"].sum())
    assert watched.losses[0] * tokens == pytest.approx(watched.losses[1] * 4, rel=1e-5)


@pytest.mark.parametrize("white", [False, True])
def test_each_step_tells_what_its_audits_come_to(white: bool, lm: Any, tmp_path: Path) -> None:
    learning = Learning(asked(), DRAWN, 3, lane=Lane(subspace_of(lm))) if white else omniopd(lm)
    news = trained(lm, learning, tmp_path).news
    assert [one.step for one in news] == [1, 2]
    assert all(one.entropy is not None and one.entropy > 0 for one in news)
    if white:
        assert {(one.target, one.divergence) for one in news} == {(None, None)}
        return
    for one in news:
        audits = [audit for audit in read_audits(tmp_path / AUDITS) if audit.step == one.step]
        entropies = [value for audit in audits for value in audit.entropies]  # kept with four decimals
        assert one.entropy == pytest.approx(sum(entropies) / len(entropies), abs=1e-4)
        targets = [chunk.target for audit in audits for chunk in audit.chunks]
        assert one.target == pytest.approx(sum(targets) / len(targets), abs=1e-5)
        apart = [audit.divergence for audit in audits if audit.divergence is not None]
        assert one.divergence == pytest.approx(sum(apart) / len(apart))


def test_chunks_anywhere_do_not_follow_the_entropy(lm: Any, tmp_path: Path) -> None:
    starts = {}
    for name, select in (("peaks", "entropy"), ("anywhere", "random"), ("again", "random")):
        trained(lm, omniopd(lm, select=select), tmp_path / name)
        audits = read_audits(tmp_path / name / AUDITS)
        starts[name] = {(one.step, one.number): [chunk.start for chunk in one.chunks] for one in audits}
    assert starts["anywhere"] == starts["again"]
    assert {key: starts["peaks"][key] for key in starts["peaks"] if key[0] == 1} != {
        key: starts["anywhere"][key] for key in starts["anywhere"] if key[0] == 1
    }


def test_at_each_step_it_is_the_student_as_it_is_that_writes(lm: Any, watched: Watched, tmp_path: Path) -> None:
    """The entropies that are kept, against the logits of the student's own forward pass, of the third step as well."""
    trained(lm, omniopd(lm, n=12), tmp_path)
    audits = read_audits(tmp_path / AUDITS)
    for step, (student, inputs) in enumerate(zip(watched.students, watched.inputs, strict=True)):
        for at, mask in enumerate(inputs["completion_mask"]):
            prompt = inputs["prompt_ids"][at][inputs["prompt_mask"][at] == 1].tolist()
            written = inputs["completion_ids"][at][mask == 1].tolist()
            (audit,) = [one for one in audits if one.prompt == f"asked {lm.tokenizer.decode(prompt)}"]
            assert audit.step == step + 1
            with torch.no_grad():
                logits = student.eval()(torch.tensor([[*prompt, *written]])).logits
            logp = logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            expected = -(logp.exp() * logp).sum(-1)[: len(audit.entropies)]
            assert list(audit.entropies) == pytest.approx(expected.tolist(), abs=1e-3)


# --- what leaves no trace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("projected", [False, True])
def test_the_untouched_model_teaches_and_is_untouched(
    projected: bool, tiny_lm: Callable[[str], Any], watched: Watched, tmp_path: Path
) -> None:
    """With the adapter switched off the student is the base, bit for bit, also after a projected self has written."""
    lm, ids = ending(tiny_lm("llama")), torch.arange(3, 33)[None]
    lane = Lane(subspace_of(tiny_lm("llama"))) if projected else Lane()
    lm.model.eval()
    with torch.no_grad():
        before = lm.model(ids).logits
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def look(_trainer: Any, student: Any, _inputs: Any) -> None:
        with torch.no_grad():
            with student.disable_adapter():
                off = student(ids).logits
            seen.append((off, student(ids).logits))

    watched.within.append(look)
    trained(lm, omniopd(lm, SelfTeacher(lm, lane)), tmp_path)
    assert all(torch.equal(off, before) for off, _ in seen)
    assert not torch.equal(seen[1][1], before), "the student has learned"
    with torch.no_grad():
        assert torch.equal(lm.model(ids).logits, before)


@pytest.mark.parametrize("white", [False, True])
def test_model_and_tokenizer_are_as_before(white: bool, tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    """TRL gives a tokenizer without a padding token one, and writes it into the model's settings."""
    tokenizer = copy.deepcopy(tiny_lm("llama").tokenizer)
    tokenizer.pad_token = None
    lm = dataclasses.replace(ending(tiny_lm("llama")), tokenizer=tokenizer)
    lm.model.config.pad_token_id = lm.model.generation_config.pad_token_id = None
    state = {name: one.clone() for name, one in lm.model.state_dict().items()}

    def look() -> Any:
        names = [name for name, _ in lm.model.named_modules()]
        settings = lm.model.config.to_dict(), lm.model.generation_config.to_dict()
        return names, settings, tokenizer.special_tokens_map, tokenizer.padding_side, lm.model.training

    before = look()
    learning = Learning(asked(4), DRAWN, 3, lane=Lane()) if white else omniopd(lm, n=4)
    trained(lm, learning, tmp_path)
    assert look() == before
    assert all(torch.equal(one, state[name]) for name, one in lm.model.state_dict().items())
    assert not any(one.requires_grad for one in lm.model.parameters())


# --- stopping, failing, going on ---------------------------------------------------------------------------------


@pytest.mark.parametrize("white", [False, True])
def test_stopped_within_a_rollout_it_goes_on_to_the_same_weights(white: bool, lm: Any, tmp_path: Path) -> None:
    def learning() -> Learning:
        return Learning(asked(), DRAWN, 3, lane=Lane(subspace_of(lm))) if white else omniopd(lm)

    settings = QUICK.model_copy(update={"epochs": 2})
    trained(lm, learning(), tmp_path / "whole", settings)
    steps, asks = [0], [0]

    def stop() -> bool:
        asks[0] += steps[0] == 2
        return asks[0] > 7  # within a text of the third step, or of the teacher beside it

    def count(news: Any) -> None:
        steps[0] = news.step

    with pytest.raises(Stopped):
        trained(lm, learning(), tmp_path / "parts", settings, stop=stop, on_news=count)
    assert steps == [2]
    rest = trained(lm, learning(), tmp_path / "parts", settings)
    assert [one.step for one in rest.news] == [3, 4]
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    if not white:
        whole, parts = (read_audits(tmp_path / name / AUDITS) for name in ("whole", "parts"))
        assert parts == whole
        assert sorted({(one.step, one.number) for one in parts}) == [(one.step, one.number) for one in parts]
        assert len(parts) == 16


def test_stopped_between_two_steps_the_adapter_is_saved_and_it_goes_on(lm: Any, tmp_path: Path) -> None:
    trained(lm, omniopd(lm, n=12), tmp_path / "whole")
    done = [0]

    def count(news: Any) -> None:
        done[0] = news.step

    first = trained(
        lm, omniopd(lm, n=12), tmp_path / "parts", stop=lambda: done[0] == 1 and _at_rest(lm), on_news=count
    )
    assert (first.card.steps, first.card.finished) == (2, False), "news comes after the question whether to stop"
    rest = trained(lm, omniopd(lm, n=12), tmp_path / "parts")
    assert (rest.card.steps, rest.card.finished) == (3, True)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def _at_rest(lm: Any) -> bool:
    """Between two steps, not while it writes."""
    training: bool = lm.model.training
    return training


@pytest.mark.parametrize("white", [False, True])
def test_it_ends_with_the_step_at_which_so_many_tokens_are_written(white: bool, lm: Any, tmp_path: Path) -> None:
    def ended(name: str, most: int | None) -> Any:
        learning = Learning(asked(16), DRAWN, 3, lane=Lane(subspace_of(lm))) if white else omniopd(lm, n=16)
        return trained(lm, dataclasses.replace(learning, max_tokens=most), tmp_path / name)

    def total(card: Any) -> int:
        return int(card.written + (card.taught or 0))

    whole, one = ended("whole", None).card, ended("one", 1).card
    assert (whole.steps, one.steps, one.planned, one.finished) == (4, 1, 4, True)
    two = ended("two", total(one) + 1).card
    assert (two.steps, ended("again", total(two)).card.steps) == (2, 2), "it ends where they are reached"
    assert same_weights(tmp_path / "two", tmp_path / "again")
    assert total(one) < total(two) < total(whole)
    shutil.rmtree(tmp_path / "again" / ADAPTER)  # its process died before it was saved
    resumed = ended("again", total(two))
    assert (resumed.news, resumed.card.steps, total(resumed.card)) == ((), 2, total(two)), "no step is added"
    assert same_weights(tmp_path / "two", tmp_path / "again")
    if not white:
        first = [audit for audit in read_audits(tmp_path / "whole" / AUDITS) if audit.step <= 2]
        assert read_audits(tmp_path / "again" / AUDITS) == first


def test_a_loss_that_is_no_number_ends_it_and_one_can_go_on(lm: Any, tmp_path: Path) -> None:
    far = QUICK.model_copy(update={"learning_rate": 1e30, "epochs": 2})
    with pytest.raises(TrainingError, match="the loss is nan at step 2"):
        trained(lm, omniopd(lm), tmp_path, far)
    assert {one.step for one in read_audits(tmp_path / AUDITS)} == {1}, "the second step is not kept"
    with pytest.raises(TrainingError, match="the loss is nan at step 2"):
        trained(lm, omniopd(lm), tmp_path, far)  # from its checkpoint
    audits = read_audits(tmp_path / AUDITS)
    assert len({(one.step, one.number) for one in audits}) == len(audits)
    assert not (tmp_path / ADAPTER).exists()


def test_a_teacher_that_writes_too_little_ends_it(lm: Any, tmp_path: Path) -> None:
    class Lazy:
        def write(self, prefixes: Any, samples: int, sampling: Any) -> list[list[str]]:
            return [["a"] * (samples - 1) for _ in prefixes]

    with pytest.raises(InputError, match=r"the teacher wrote \d+ continuations where \d+ were asked of it"):
        trained(lm, omniopd(lm, Lazy()), tmp_path)


def test_no_prompt_is_a_sentence(lm: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prompt is left"):
        trained(lm, omniopd(lm, n=0), tmp_path)


# --- what the teacher reads --------------------------------------------------------------------------------------


def test_a_chunk_s_own_tokens_never_reach_the_teacher(lm: Any, tmp_path: Path) -> None:
    read: list[Any] = []

    class Recording:
        def write(self, prefixes: Any, samples: int, sampling: Any) -> list[list[str]]:
            assert (samples, sampling.max_new_tokens) == (3, 4)
            read.extend(prefixes)
            return [["?"] * samples for _ in prefixes]

    learning = omniopd(lm, Recording(), n=4)
    written = write_rollouts(lm, learning.rows, learning.rollout, learning.seed, 1)
    trained(lm, learning, tmp_path)
    expected = []
    for audit in sorted(read_audits(tmp_path / AUDITS), key=lambda one: one.number):
        row, text = learning.rows[audit.number - 5], written[audit.number - 5]
        for chunk in audit.chunks:
            ids = [*lm.tokenizer(row.prompt)["input_ids"], *text.tokens[: chunk.start]]
            expected.append((row.number, row.asked, tuple(ids), lm.tokenizer.decode(text.tokens[: chunk.start])))
    assert sorted((one.number, one.prompt, one.ids, one.written) for one in read) == sorted(expected)
    assert len({(one.number, one.seed) for one in read}) == len(read), "each has noise of its own"
    assert all(one.text == lm.tokenizer.decode(one.ids) for one in read)


# --- white-box ---------------------------------------------------------------------------------------------------


def test_the_raw_self_teaches_itself_nothing(lm: Any, tmp_path: Path) -> None:
    news = trained(lm, Learning(asked(), DRAWN, 3, lane=Lane()), tmp_path).news
    assert [one.loss for one in news] == [0.0, 0.0]
    assert all(not bool(one.any()) for name, one in weights(tmp_path).items() if "lora_B" in name)
    assert not (tmp_path / AUDITS).exists()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("divergence", [0.0, 1.0])
def test_the_projected_self_s_divergence_is_that_of_the_hooks(
    divergence: float, family: str, tiny_lm: Callable[[str], Any], watched: Watched, tmp_path: Path
) -> None:
    lm = ending(tiny_lm(family))
    lane = Lane(subspace_of(lm))
    trained(lm, Learning(asked(4), DRAWN, 3, lane=lane, divergence=divergence), tmp_path)
    inputs, total, tokens = watched.inputs[0], 0.0, 0
    for at, mask in enumerate(inputs["completion_mask"]):
        prompt = inputs["prompt_ids"][at][inputs["prompt_mask"][at] == 1].tolist()
        written = inputs["completion_ids"][at][mask == 1].tolist()
        ids = torch.tensor([[*prompt, *written]])
        with torch.no_grad():
            own = lm.model(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
            with projecting(lm, lane):
                held = lm.model(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
        p, q = (held, own) if divergence == 0 else (own, held)
        total += float((p.exp() * (p - q)).sum())
        tokens += len(written)
    assert watched.losses[0] > 0.01
    assert watched.losses[0] == pytest.approx(total / tokens, rel=1e-4)


# --- several processes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "batch", "said"), [
    (8, 4, ""), (9, 4, "9 rows in steps of 4 leave a last step of 1, which 2 processes"),
    (6, 4, "last step of 2"), (8, 3, "a batch of 3 rows cannot be shared by 2 processes"),
])  # fmt: skip
def test_a_last_step_that_cannot_be_shared_is_refused(
    rows: int, batch: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "together", lambda: Peers(0, 2))
    monkeypatch.setattr(parallel, "together", lambda: Peers(0, 2))
    with pytest.raises(InputError, match=said) if said else nullcontext():
        batches.check_shares(rows, batch)


_SCRIPT = """
import os, sys
from pathlib import Path
from spd_core.models.loading import load
from tests.distill.students import ending, omniopd, trained
lm = ending(load(sys.argv[1], dtype="float32"))
news = trained(lm, omniopd(lm, n=8), Path(sys.argv[2])).news
Path(sys.argv[2], f"said-{os.environ['RANK']}").write_text(str([one.loss for one in news]))
"""


def test_two_processes_learn_what_one_learns(
    family_folder: Callable[[str], Path], tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm = ending(tiny_lm("llama"))
    losses = [one.loss for one in trained(lm, omniopd(lm, n=8), tmp_path / "one").news]
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--main_process_port", "0", str(script), str(family_folder("llama")), str(tmp_path / "two"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (read_audits(tmp_path / name / AUDITS) for name in ("one", "two"))
    assert [(a.step, a.number, a.tokens) for a in one] == [(a.step, a.number, a.tokens) for a in two]
    assert [[(c.start, c.own, c.others) for c in a.chunks] for a in one] == [
        [(c.start, c.own, c.others) for c in a.chunks] for a in two
    ]
    alone, together = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(alone[name], together[name], atol=1e-5) for name in alone), "the same steps, shared"
    for rank in (0, 1):
        said = json.loads((tmp_path / "two" / f"said-{rank}").read_text().replace("None", "null"))
        assert said == pytest.approx(losses, rel=1e-4)
