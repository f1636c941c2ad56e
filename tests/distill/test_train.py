"""Training on a tiny model: what is trained on, that the base stays as it is, and that a stop changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spd_core.distill.batches import by_length
from spd_core.distill.checkpoints import ADAPTER
from spd_core.distill.corpus import CorpusRow
from spd_core.distill.train import encode_row, train
from spd_core.distill.training import target_modules
from spd_core.distill.watch import TrainNews
from spd_core.errors import InputError, StorageError, TrainingError
from spd_core.generation.decode import generate
from spd_core.intervention.projection import Lane
from spd_core.peers import Peers
from spd_core.recipes.distill import TrainSettings
from spd_core.recipes.lanes import Sampling
from spd_core.runs import parallel
from tests.tiny import FAMILIES

QUICK = TrainSettings(epochs=3, batch_size=4, learning_rate=5e-3)


def corpus(lm: Any, n: int = 10, first: int = 0) -> list[CorpusRow]:
    rows = []
    for number in range(first, first + n):
        text = f" {number} and {number + 1}"
        tokens = tuple(lm.tokenizer(text, add_special_tokens=False)["input_ids"])
        rows.append(CorpusRow(number=number, id=f"e{number}", sample=0, prompt="Count" * (1 + number % 3), special=True,
                              completion=text, tokens=tokens, finish="eos" if number % 2 else "length"))  # fmt: skip
    return rows


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / ADAPTER / "adapter_model.safetensors")


def test_labels_token_by_token(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    cut, ended = corpus(lm, 2)
    prompt = lm.tokenizer(ended.prompt)["input_ids"]
    ids = [*prompt, *ended.tokens, lm.tokenizer.eos_token_id]
    assert encode_row(lm, ended, "prompt_and_completion") == {"input_ids": ids, "labels": ids}
    only = encode_row(lm, ended, "completion")
    assert only["labels"] == [-100] * len(prompt) + [*ended.tokens, lm.tokenizer.eos_token_id]
    assert encode_row(lm, cut, "completion")["input_ids"][-1] == cut.tokens[-1], "a cut text has no end"


def test_padding_is_never_trained_on(tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: Any) -> None:
    from trl import SFTTrainer

    lm, seen = tiny_lm("llama"), []
    plain = SFTTrainer.compute_loss

    def watching(self: Any, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        seen.append({name: inputs[name].clone() for name in ("input_ids", "attention_mask", "labels")})
        return plain(self, model, inputs, *args, **options)

    monkeypatch.setattr(SFTTrainer, "compute_loss", watching)
    rows = corpus(lm)
    train(lm, rows, QUICK.model_copy(update={"epochs": 1}), tmp_path)
    lengths = {tuple(encode_row(lm, row, "prompt_and_completion")["input_ids"]) for row in rows}
    trained = 0
    for batch in seen:
        assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()
        for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
            own = tuple(ids[mask == 1].tolist())
            assert own in lengths
            assert labels[mask == 1].tolist() == list(own), "prompt and completion, the end-of-sequence token too"
            trained += 1
    assert trained == len(rows)


def test_padding_is_trained_on_where_it_is_asked_for(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: Any
) -> None:
    """The control: every row is followed by ends of text, up to the longest, and the held-out loss counts none."""
    from trl import SFTTrainer

    lm, seen = tiny_lm("llama"), list[tuple[list[int], list[int]]]()
    plain = SFTTrainer.compute_loss

    def watching(self: Any, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        if model.training:
            seen.extend(zip(inputs["input_ids"].tolist(), inputs["labels"].tolist(), strict=True))
        return plain(self, model, inputs, *args, **options)

    monkeypatch.setattr(SFTTrainer, "compute_loss", watching)
    rows, others = corpus(lm), corpus(lm, 4, 10)
    padded = QUICK.model_copy(update={"epochs": 1, "loss_on": "prompt_completion_and_padding"})
    found = train(lm, rows, padded, tmp_path / "padded", held_out=others)
    own = [encode_row(lm, row, "prompt_and_completion")["input_ids"] for row in rows]
    longest, end = max(map(len, own)), lm.tokenizer.eos_token_id
    expected = [ids + [end] * (longest - len(ids)) for ids in own]
    assert sorted(ids for ids, _ in seen) == sorted(labels for _, labels in seen) == sorted(expected)
    unpadded = train(lm, rows, QUICK.model_copy(update={"epochs": 1}), tmp_path / "plain", held_out=others)
    first = [next(one.held_out_loss for one in run.news if one.held_out_loss is not None) for run in (found, unpadded)]
    assert first[0] == first[1], "before the first step both score the same tokens"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_falls_and_the_base_stays_as_it_is(family: str, tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm(family)
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    names = [name for name, _ in lm.model.named_modules()]
    ids, config = torch.tensor([[5, 6, 7]]), lm.model.config.to_dict()
    logits = lm.model(ids).logits
    found = train(lm, corpus(lm), QUICK, tmp_path, facts={"run": "r", "arm": "spd", "subspace": "abc"})
    losses = [news.loss for news in found.news]
    assert losses[-1] < losses[0]
    assert (found.card.steps, found.card.planned, found.card.finished) == (9, 9, True)
    assert [name for name, _ in lm.model.named_modules()] == names, "no adapter is left on the base"
    assert all(torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert "forward" not in vars(lm.model), "TRL's fused head is gone"
    assert torch.equal(lm.model(ids).logits, logits)
    assert lm.model.config.to_dict() == config
    trained = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in weights(tmp_path)}
    assert trained == {name.split(".")[-1] for name in target_modules(lm.card)}
    assert not any("mlp" in name for name in weights(tmp_path)), "only the attention"
    card = json.loads((tmp_path / ADAPTER / "card.json").read_text())
    assert (card["base"], card["revision"], card["subspace"], card["steps"]) == (lm.name, lm.revision, "abc", 9)
    text = (tmp_path / ADAPTER / "README.md").read_text().replace("\\_", "_")
    assert all(fact in text for fact in (Path(lm.name).name, lm.revision, "abc", found.card.corpus))
    config = json.loads((tmp_path / ADAPTER / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == Path(lm.name).name
    assert not any(str(Path(lm.name).parent) in one for one in (text, json.dumps(config))), "no place on this machine"
    assert not list((tmp_path / ADAPTER).rglob("*.bin"))


def test_the_adapter_opens_with_peft_and_changes_the_model(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    import copy

    from peft import PeftModel

    lm = tiny_lm("llama")
    train(lm, corpus(lm), QUICK, tmp_path)
    ids = torch.tensor([lm.tokenizer("Count")["input_ids"]])
    plain = lm.model(ids).logits
    adapted = PeftModel.from_pretrained(copy.deepcopy(lm.model), tmp_path / ADAPTER)
    assert not torch.allclose(adapted(ids).logits, plain)
    assert torch.equal(lm.model(ids).logits, plain)


def test_the_order_of_rows_depends_on_seed_and_epoch_alone() -> None:
    lengths = [1 + at % 7 for at in range(400)]

    def order(seed: int, epoch: int) -> list[int]:
        sampler = by_length(lengths, 4, seed)
        sampler.set_epoch(epoch)
        torch.rand(3)  # somebody else's noise
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert sorted(order(0, 1)) == list(range(400)), "every row once"
    assert len({tuple(order(seed, epoch)) for seed in range(0, 20, 10) for epoch in range(2)}) == 4
    padded = sum(4 * max(lengths[at] for at in order(0, 0)[start : start + 4]) for start in range(0, 400, 4))
    assert padded < 1.2 * sum(lengths), "rows of similar length stand together"
    few = [9, 2, 8, 3, 9, 2, 8, 3, 1, 1]
    sampler = by_length(few, 4, 0)
    batches = [sorted(few[at] for at in list(sampler)[start : start + 4]) for start in (0, 4, 8)]
    assert sorted(batches[:2]) == [[2, 2, 3, 3], [8, 8, 9, 9]], "of few rows, too"
    assert batches[2] == [1, 1], "the smaller batch comes last"


@pytest.mark.parametrize("at", [1, 4])
def test_a_stopped_training_goes_on_to_the_same_weights(at: int, tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm, steps = tiny_lm("llama"), 0
    held_out = corpus(lm, 3, first=50)
    whole = train(lm, corpus(lm), QUICK, tmp_path / "whole", held_out=held_out)

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == at

    parts = tmp_path / "parts"
    first = train(lm, corpus(lm), QUICK, parts, held_out=held_out, stop=stop)
    assert (first.card.steps, first.card.planned, first.card.finished) == (at, 9, False)
    assert weights(parts), "what was learned until then is kept"
    rest = train(lm, corpus(lm), QUICK, parts, held_out=held_out)
    assert (rest.card.steps, rest.card.finished) == (9, True)
    expected = weights(tmp_path / "whole")
    for name, tensor in weights(parts).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    assert rest.news[-1].held_out_loss == whole.news[-1].held_out_loss
    scored = [news.step for news in rest.news if news.held_out_loss is not None]
    assert scored == [step for step in (3, 6, 9) if step > at], "nothing is scored when it goes on, but epochs"


def test_step_0_is_the_untouched_model_and_looking_at_it_changes_nothing(
    tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm, held_out, looked = tiny_lm("llama"), corpus(tiny_lm("llama"), 3, first=50), []
    with torch.no_grad():
        losses, tokens = 0.0, 0
        for row in held_out:  # row by row, without a trainer
            ids = torch.tensor([encode_row(lm, row, "prompt_and_completion")["input_ids"]])
            losses += torch.nn.functional.cross_entropy(
                lm.model(ids).logits[0, :-1], ids[0, 1:], reduction="sum"
            ).item()
            tokens += ids.shape[1] - 1
    settings = QUICK.model_copy(update={"lora_dropout": 0.2})
    found = train(lm, corpus(lm), settings, tmp_path / "told", held_out=held_out, on_epoch=looked.append)
    first = found.news[0]
    assert (first.step, first.epoch, first.loss) == (0, 0.0, None)
    assert first.held_out_loss == pytest.approx(losses / tokens, rel=1e-4)
    assert [(news.step, news.epoch) for news in looked] == [(0, 0.0), (3, 1.0), (6, 2.0), (9, 3.0)]
    train(lm, corpus(lm), settings, tmp_path / "alone")
    told, alone = weights(tmp_path / "told"), weights(tmp_path / "alone")
    assert all(torch.equal(told[name], alone[name]) for name in alone)


def test_each_step_tells_its_learning_rate_and_the_norm_of_its_gradient(
    tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    import math

    lm = tiny_lm("llama")
    found = train(lm, corpus(lm, 4), QUICK.model_copy(update={"epochs": 4}), tmp_path, held_out=corpus(lm, 2, first=50))
    steps = [news for news in found.news if news.loss is not None]
    cosine = [5e-3 * (1 + math.cos(math.pi * done / 4)) / 2 for done in range(4)]
    assert [news.learning_rate for news in steps] == pytest.approx(cosine)
    assert all(news.grad_norm is not None and news.grad_norm > 0 for news in steps)
    assert found.card.schedule == "cosine to 0, no warmup"
    assert "cosine to 0, no warmup" in (tmp_path / ADAPTER / "README.md").read_text()


def test_the_train_loss_of_a_card_is_the_mean_of_the_last_epoch(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    found = train(lm, corpus(lm), QUICK, tmp_path)
    losses = [news.loss for news in found.news]
    assert len(losses) == 9
    assert found.card.train_loss == pytest.approx(sum(losses[6:]) / 3)


def test_held_out_rows_are_scored_after_every_epoch_and_stop_early(
    tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    """The held-out rows end with another letter after the same prompt: the surer of the one, the worse the other."""
    lm, told = tiny_lm("llama"), []
    one, other = ([row.model_copy(update={"prompt": "Count", "completion": letter, "finish": "length",
                                          "tokens": tuple(lm.tokenizer(letter, add_special_tokens=False)["input_ids"])})
                   for row in corpus(lm)] for letter in "az")  # fmt: skip
    far = QUICK.model_copy(update={"epochs": 20, "learning_rate": 0.02, "loss_on": "completion", "patience": 1})
    found = train(lm, one, far, tmp_path, held_out=other[:3], on_news=told.append)
    scored = [news.held_out_loss for news in told if news.held_out_loss is not None]
    assert told == list(found.news)
    assert found.card.steps < found.card.planned, "the held-out loss rose"
    assert scored[-1] > min(scored)
    with pytest.raises(InputError, match="patience 1 needs held-out rows"):
        train(lm, corpus(lm), far, tmp_path / "b")


def test_a_loss_that_is_no_number_ends_it_and_leaves_the_base(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    with pytest.raises(TrainingError, match="the loss is nan at step"):
        train(lm, corpus(lm), QUICK.model_copy(update={"learning_rate": 1e30}), tmp_path)
    assert not (tmp_path / ADAPTER).exists()
    assert all(torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())
    assert isinstance(train(lm, corpus(lm), QUICK, tmp_path / "again").news[0], TrainNews)


def test_a_full_disk_is_a_sentence_and_keeps_the_last_adapter(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, steps = tiny_lm("llama"), iter(range(100))
    train(lm, corpus(lm), QUICK, tmp_path, stop=lambda: next(steps) == 0)
    kept = weights(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.Trainer._save_checkpoint", full)
    with pytest.raises(StorageError, match="No space left on device.*Free space"):
        train(lm, corpus(lm), QUICK, tmp_path)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in weights(tmp_path).items())


def test_nothing_to_train_on_is_a_sentence(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row is left"):
        train(tiny_lm("llama"), [], QUICK, tmp_path)


def test_after_each_epoch_one_can_look_and_it_changes_nothing(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm, texts, logits = tiny_lm("llama"), [], []
    ids = torch.tensor([[5, 6, 7]])
    plain = lm.model(ids).logits

    def look(news: TrainNews) -> None:
        assert not lm.model.training
        logits.append(lm.model(ids).logits)
        sampled = generate(lm, ["Count"], [Lane()], Sampling(temperature=1.0, max_new_tokens=4))  # draws noise
        texts.append((news.step, sampled[0].text))

    settings = QUICK.model_copy(update={"lora_dropout": 0.2})
    train(lm, corpus(lm), settings, tmp_path / "looked", on_epoch=look)
    train(lm, corpus(lm), settings, tmp_path / "alone")
    assert [step for step, _ in texts] == [0, 3, 6, 9]
    assert torch.allclose(logits[0], plain, atol=1e-6), "an adapter adds nothing before its first step"
    assert not torch.equal(logits[1], plain)
    assert not torch.equal(logits[1], logits[3]), "it is the model in training that writes"
    looked, alone = weights(tmp_path / "looked"), weights(tmp_path / "alone")
    assert all(torch.equal(looked[name], alone[name]) for name in alone)


def test_after_each_epoch_it_is_the_model_as_it_is_that_writes_also_in_batches(
    tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    """Decoding packs weights for several rows, and a fused optimizer changes them without a word."""
    lm, prompts, steps = tiny_lm("llama"), ["Count", "Count to", "Count up to", "Sum"], []

    def look(news: TrainNews) -> None:
        written = generate(lm, prompts, [Lane()], Sampling(temperature=0, max_new_tokens=4), measured=True)
        for prompt, one in zip(prompts, written, strict=True):
            ids = lm.tokenizer(prompt)["input_ids"]
            with torch.no_grad():
                logp = lm.model(torch.tensor([[*ids, *one.tokens]])).logits[0, len(ids) - 1 :].log_softmax(-1)
            expected = [float(logp[at, token]) for at, token in enumerate(one.tokens)]
            assert one.logprobs == pytest.approx(expected, abs=1e-3)
        steps.append(news.step)

    train(lm, corpus(lm), QUICK, tmp_path, on_epoch=look)
    assert steps == [0, 3, 6, 9]


def test_a_batch_that_processes_cannot_share_is_refused(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: Any
) -> None:
    lm = tiny_lm("llama")
    monkeypatch.setattr(parallel, "together", lambda: Peers(0, 3))
    with pytest.raises(InputError, match="a batch of 4 rows cannot be shared by 3 processes"):
        train(lm, corpus(lm), QUICK, tmp_path)


def test_only_the_chosen_maps_are_trained(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    train(lm, corpus(lm), QUICK.model_copy(update={"epochs": 1, "lora_targets": ("k", "o")}), tmp_path)
    assert {name.split(".")[-3] for name in weights(tmp_path)} == {"k_proj", "o_proj"}
    assert target_modules(tiny_lm("gpt2").card, ("q",)) == ["c_attn"], "a fused map cannot be taken apart"
