"""Answers of a tiny model against transformers' own greedy decoding, records that are kept, the likelihood by hand."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.data.capability import INSTRUCTION, Example, Settings
from spd_core.data.spans import Encoded, encode_all
from spd_core.errors import ModelError
from spd_core.evaluation import answers as evaluation
from spd_core.evaluation.answers import evaluate
from spd_core.evaluation.items import Items
from spd_core.evaluation.store import ItemStore
from spd_core.generation.numbered import NumberedPrompt
from spd_core.intervention.projection import Lane, folded
from spd_core.progress import Progress
from tests.intervention.test_projection import subspace_of
from tests.sets import items_of, written
from tests.side_by_side import side_by_side
from tests.waiting import LONG


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SPD_HOME without any record."""
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """Seven held-out items of different lengths."""
    rows = [{"id": f"i{i}", "split": "heldout", "prompt": f"{i} and {i}" + " more" * (i % 3), "answer": f"{2 * i}"}
            for i in range(7)]  # fmt: skip
    return written(tmp_path / "sums.jsonl", rows)


@pytest.fixture
def lm(tiny_lm: Callable[[str], Any]) -> Any:
    return tiny_lm("llama")


# --- answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_answers_are_those_of_transformers_greedy_decoding(lm: Any, sums: Path, batch_size: int) -> None:
    items = items_of(sums)
    found = evaluate(lm, Lane(), items, "f", batch_size=batch_size)
    assert [record.id for record in found.records] == [f"i{i}" for i in range(7)], "in the set's order"
    for record, example in zip(found.records, items.capability.examples, strict=True):
        assert record.prompt == f"Q: {example.prompt}\nA:"
        ids = lm.tokenizer(record.prompt, return_tensors="pt").input_ids
        whole = lm.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                  max_new_tokens=6, pad_token_id=0)  # fmt: skip
        new = [int(i) for i in whole[0, ids.shape[1] :]]
        ended = lm.tokenizer.eos_token_id in new
        assert record.tokens == len(new) - ended
        assert record.finish == ("eos" if ended else "length")
        assert record.completion == lm.tokenizer.decode(new[: record.tokens], skip_special_tokens=True,
                                                        clean_up_tokenization_spaces=False)  # fmt: skip
        assert (record.gold, record.nll) == (example.answer, None)
    assert (found.tokens, found.reused, found.whole) == (sum(r.tokens for r in found.records), 0, True)


def test_right_and_wrong_come_from_the_scorer(lm: Any, sums: Path) -> None:
    """A model whose every answer is the same byte is right where the gold is that digit."""
    items = items_of(sums)
    four = lm.tokenizer("4").input_ids[0]

    def always_four(_module: Any, _args: Any, output: Any) -> Any:
        output = output.clone()
        output[..., four] = 1e4
        return output

    hook = lm.model.get_output_embeddings().register_forward_hook(always_four)
    try:
        found = evaluate(lm, Lane(), Items(items.name, items.capability, "raw", 1), "f").records
    finally:
        hook.remove()
    assert [record.completion for record in found] == ["4"] * 7
    assert [record.correct for record in found] == [record.gold == "4" for record in found]
    assert [record.value for record in found] == [0, 0, 1, 0, 0, 0, 0]
    assert {record.extracted for record in found} == {"4"}


def test_a_projected_subject_answers_like_its_folded_weights(lm: Any, sums: Path) -> None:
    lane, items = Lane(subspace_of(lm)), items_of(sums)
    hooked = evaluate(lm, lane, items, "hooked").records
    with folded(lm, lane):
        plain = evaluate(lm, Lane(), items, "folded").records
    assert hooked == plain
    assert hooked != evaluate(lm, Lane(), items, "raw").records


# --- records -------------------------------------------------------------------------------------------------


def test_a_second_evaluation_generates_nothing(lm: Any, sums: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(lm, Lane(), items_of(sums), "f")
    monkeypatch.setattr(evaluation, "write_batch", lambda *_, **__: pytest.fail("it was asked again"))
    second = evaluate(lm, Lane(), items_of(sums), "f")
    assert second.records == first.records
    assert (second.tokens, second.reused) == (0, 7)
    few = evaluate(lm, Lane(), items_of(sums, limit=3), "f")
    assert few.records == first.records[:3], "records are of items, whatever the limit"


def test_a_stop_keeps_whole_batches_and_going_on_gives_the_same(lm: Any, sums: Path) -> None:
    whole = evaluate(lm, Lane(), items_of(sums), "once", batch_size=2).records
    told: list[Progress] = []
    part = evaluate(lm, Lane(), items_of(sums), "twice", batch_size=2, stop=lambda: len(told) == 2,
                    tell=told.append)  # fmt: skip
    assert (len(part.records), part.whole) == (4, False)
    assert [at.done for at in told] == [2, 4]
    assert {at.total for at in told} == {7}
    rest = evaluate(lm, Lane(), items_of(sums), "twice", batch_size=2)
    assert rest.records == whole
    assert rest.reused == 4


def test_a_stop_in_the_middle_of_a_batch_keeps_nothing_of_it(lm: Any, sums: Path) -> None:
    asked = iter(range(100))
    found = evaluate(lm, Lane(), items_of(sums), "f", batch_size=7, stop=lambda: next(asked) >= 2)
    assert found.records == ()


def test_a_torn_line_is_written_anew(lm: Any, sums: Path) -> None:
    items = items_of(sums)
    whole = evaluate(lm, Lane(), items, "f", batch_size=3)
    path = ItemStore(items.about("f")).path
    path.write_bytes(path.read_bytes()[:-9])
    again = evaluate(lm, Lane(), items, "f", batch_size=3)
    assert (again.records, again.reused) == (whole.records, 6)
    assert len(path.read_bytes().splitlines()) == 7


def test_a_damaged_record_is_set_aside_and_its_item_asked_again(lm: Any, sums: Path) -> None:
    items = items_of(sums)
    whole = evaluate(lm, Lane(), items, "f")
    path = ItemStore(items.about("f")).path
    lines = path.read_text().splitlines()
    cut, spoilt = lines[1][:20], lines[3].encode().replace(b"i", b"\xff", 1)
    path.write_bytes(
        b"\n".join([lines[0].encode(), cut.encode(), lines[2].encode(), spoilt, *map(str.encode, lines[4:])]) + b"\n"
    )
    again = evaluate(lm, Lane(), items, "f")
    assert (again.records, again.reused) == (whole.records, len(lines) - 2)
    assert sorted(path.read_text().splitlines()) == sorted(lines)
    assert path.with_name("damaged.jsonl").read_bytes() == cut.encode() + b"\n" + spoilt + b"\n"
    evaluate(lm, Lane(), items, "f")
    assert path.with_name("damaged.jsonl").read_bytes().count(b"\n") == 2, "once"


def test_an_edited_item_is_asked_anew(lm: Any, sums: Path) -> None:
    evaluate(lm, Lane(), items_of(sums), "f")
    sums.write_text(sums.read_text().replace("2 and 2 more more", "two and two"))
    found = evaluate(lm, Lane(), items_of(sums), "f")
    assert (found.reused, found.whole) == (6, True)
    assert [r.prompt for r in found.records if r.id == "i2"] == ["Q: two and two\nA:"]


def test_code_whose_tests_were_edited_is_judged_anew(lm: Any, tmp_path: Path) -> None:
    rows = [
        {
            "id": "f",
            "split": "heldout",
            "prompt": "Write f.",
            "answer": "def f(): return 1",
            "tests": ["assert f() == 1"],
        }
    ]
    path = written(tmp_path / "code.jsonl", rows, scorer="python")
    evaluate(lm, Lane(), items_of(path), "f")
    assert evaluate(lm, Lane(), items_of(path), "f").reused == 1
    path.write_text(path.read_text().replace("f() == 1", "f() == 2"))
    assert evaluate(lm, Lane(), items_of(path), "f").reused == 0


def test_two_that_ask_the_same_take_turns(lm: Any, sums: Path) -> None:
    items = items_of(sums)
    store = ItemStore(items.about("f"))
    results: list[Any] = []
    with store.writing():
        other = threading.Thread(target=lambda: results.append(evaluate(lm, Lane(), items, "f")))
        other.start()
        time.sleep(0.5)
        assert not results, "it waits"
    other.join(LONG)
    assert results[0].whole


def test_waiting_for_another_ends_when_asked_to_and_touches_nothing(lm: Any, sums: Path) -> None:
    items = items_of(sums)
    store = ItemStore(items.about("f"))
    with store.writing():
        store.path.write_text("a line that is being writ")
        assert not evaluate(lm, Lane(), items, "f", stop=lambda: True).whole
        assert store.path.read_text() == "a line that is being writ"


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_items_and_each_is_asked_once(
    count: int, lm: Any, sums: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_of(sums)
    alone = evaluate(lm, Lane(), items, "alone", batch_size=2)
    asked, real = list[str](), evaluation.write_batch

    def counting(lm: Any, lane: Lane, prompts: Sequence[NumberedPrompt], *args: Any, **options: Any) -> Any:
        asked.extend(one.prompt for one in prompts)
        return real(lm, lane, prompts, *args, **options)

    monkeypatch.setattr(evaluation, "write_batch", counting)
    told: dict[int, list[Progress]] = {rank: [] for rank in range(count)}
    shared = side_by_side(
        count,
        lambda peers: evaluate(lm, Lane(), items, "shared", batch_size=2, peers=peers, tell=told[peers.rank].append),
    )
    assert shared == [alone] * count
    assert sorted(asked) == sorted(record.prompt for record in alone.records), "each by one of them, and once"
    assert [len(said) for said in told.values()] == {2: [2, 2], 3: [2, 1, 1]}[count], "four batches"
    folder = ItemStore(items.about("shared")).folder
    assert sorted(path.name for path in folder.iterdir()) == ["about.json", "items.jsonl", "lock"]


def test_what_killed_processes_have_left_counts_for_any_number(lm: Any, sums: Path) -> None:
    """Parts of processes that are gone: torn, damaged, and of a rank that nobody has now."""
    items = items_of(sums)
    alone = evaluate(lm, Lane(), items, "alone", batch_size=2)
    lines = [record.model_dump_json() for record in alone.records]
    for count in (1, 2, 3):
        store = ItemStore(items.about(f"by {count}"))
        store.folder.mkdir(parents=True)
        store.path.write_text(lines[0] + '\n{"id": "to')
        store.path.with_name("items.part-1.jsonl").write_text(f"{lines[1]}\nno record\n{lines[2]}\n")
        store.path.with_name("items.part-6.jsonl").write_text(f'{lines[6]}\n{{"id": "torn')
        found = side_by_side(
            count, lambda peers, name=f"by {count}": evaluate(lm, Lane(), items, name, batch_size=2, peers=peers)
        )
        assert {one.reused for one in found} == {4}
        assert all(one.records == alone.records and one.whole for one in found)
        assert {one.tokens for one in found} == {sum(alone.records[at].tokens for at in (3, 4, 5))}
        assert (store.folder / "damaged.jsonl").read_text() == "no record\n"
        assert sorted(path.name for path in store.folder.glob("items*")) == ["items.jsonl"]
        assert sorted(store.path.read_text().splitlines()) == sorted(lines)


# --- likelihood ----------------------------------------------------------------------------------------------


def slow_nll(lm: Any, example: Encoded) -> float:
    """One example alone, every logit, one token after another."""
    with torch.no_grad():
        logp = lm.model(input_ids=torch.tensor([example.ids])).logits[0].double().log_softmax(-1)
    return -sum(float(logp[t - 1, example.ids[t]]) for t in example.supervised) / len(example.supervised)


CODE = Settings(capability="x", template=INSTRUCTION, scorer="nll")
ANSWERS = {"short": "x = 1", "long": "for i in range(3):\n    print(i)", "middle": "return a"}


def encoded_answers(tokenizer: Any) -> Any:
    return encode_all([Example(id=k, prompt="Do it.", answer=v) for k, v in ANSWERS.items()], CODE, tokenizer)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_reference_nll_is_the_slow_one(lm: Any, tokenizer: Any, batch_size: int) -> None:
    encoded = encoded_answers(tokenizer)
    found = evaluation.reference_nll(lm, encoded, batch_size)
    assert found == pytest.approx({example.id: slow_nll(lm, example) for example in encoded.examples}, rel=1e-5)


def test_a_likelihood_is_of_the_subject(lm: Any, tokenizer: Any) -> None:
    lane, encoded = Lane(subspace_of(lm)), encoded_answers(tokenizer)
    found = evaluation.reference_nll(lm, encoded, 2, lane)
    with folded(lm, lane):
        slow = {example.id: slow_nll(lm, example) for example in encoded.examples}
    assert found == pytest.approx(slow, rel=1e-4)
    assert found != pytest.approx({example.id: slow_nll(lm, example) for example in encoded.examples}, rel=1e-4)


def test_a_likelihood_set_has_no_right_or_wrong(lm: Any, tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"id": k, "split": "heldout", "prompt": "Do it.", "answer": v} for k, v in ANSWERS.items()]
    items = items_of(written(tmp_path / "code.jsonl", rows, template=INSTRUCTION, scorer="nll"))
    found = evaluate(lm, Lane(), items, "f", batch_size=2)
    slow = {example.id: slow_nll(lm, example) for example in encoded_answers(tokenizer).examples}
    assert {record.id: record.nll for record in found.records} == pytest.approx(slow, rel=1e-5)
    assert {record.id: record.value for record in found.records} == pytest.approx(slow, rel=1e-5)
    assert {(record.correct, record.completion) for record in found.records} == {(None, "")}
    for record in found.records:
        assert record.tokens == len(f" {ANSWERS[record.id]}".encode()), "of the answer alone, one token a byte"
    assert evaluate(lm, Lane(), items, "f").reused == 3


def test_a_likelihood_that_is_no_number_is_refused(lm: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "batch_losses", lambda _lm, batch: torch.full((len(batch),), torch.nan))
    with pytest.raises(ModelError, match="the likelihood of long is not finite; load the model in float32"):
        evaluation.reference_nll(lm, encoded_answers(tokenizer))
