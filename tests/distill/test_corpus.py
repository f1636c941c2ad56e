"""A corpus is the same however it was interrupted, and what is dropped from it is dropped for its reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.data.capability import Capability, Example, RegexSpans, Settings
from spd_core.distill.corpus import CorpusRow, clean, read_corpus
from spd_core.distill.write import planned_rows, write_corpus
from spd_core.errors import InputError, StorageError
from spd_core.generation.decode import generate
from spd_core.intervention.projection import Lane
from spd_core.peers import Peers
from spd_core.progress import Progress
from spd_core.recipes.lanes import Sampling
from tests.intervention.test_projection import subspace_of
from tests.side_by_side import side_by_side

SAMPLING = Sampling(temperature=1.2, top_p=1.0, max_new_tokens=6, seed=5)


def capability(n: int = 5) -> Capability:
    examples = tuple(Example(id=f"e{i}", prompt=f"{i} and {'more ' * i}", answer=str(i)) for i in range(n))
    return Capability(
        Settings(capability="counting", spans=RegexSpans(regex="[0-9]+"), template="Q: {prompt}"), examples
    )


def row(number: int, completion: str, prompt: str = "Q: a", tokens: tuple[int, ...] = (1, 2, 3)) -> CorpusRow:
    return CorpusRow(number=number, id="e", sample=0, prompt=prompt, special=True, completion=completion,
                     tokens=tokens, finish="eos")  # fmt: skip


def test_tasks_are_numbered_prompt_by_prompt(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    tasks = planned_rows(lm, capability(), samples=2, limit=3)
    assert [(task.number, task.id, task.sample) for task in tasks] == [
        (0, "e0", 0), (1, "e0", 1), (2, "e1", 0), (3, "e1", 1), (4, "e2", 0), (5, "e2", 1),
    ]  # fmt: skip
    assert tasks[2].prompt == "Q: 1 and more "
    with pytest.raises(InputError, match="0 samples"):
        planned_rows(lm, capability(), samples=0)


@pytest.mark.parametrize("projected", [False, True])
def test_a_stopped_corpus_goes_on_to_the_same_rows(
    projected: bool, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm = tiny_lm("llama")
    lane, tasks = Lane(subspace_of(lm)) if projected else Lane(), planned_rows(lm, capability(), samples=2)
    whole = write_corpus(lm, tasks, lane, SAMPLING, tmp_path / "whole.jsonl", batch_size=4)
    assert [row.number for row in whole] == list(range(10))
    for one in whole:  # against plain generation, each prompt alone under its number
        alone = generate(lm, [one.prompt], [lane], SAMPLING, numbers=[one.number])[0]
        assert (list(one.tokens), one.completion, one.finish) == (alone.tokens, alone.text, alone.finish)
    assert len({row.completion for row in whole}) > 5, "samples of a prompt differ"

    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 9  # in the middle of the second batch

    path, told = tmp_path / "parts.jsonl", []
    first = write_corpus(lm, tasks, lane, SAMPLING, path, batch_size=3, stop=stop)
    assert 3 <= len(first) < 10
    kept = path.read_text()
    rest = write_corpus(lm, tasks, lane, SAMPLING, path, batch_size=3, tell=told.append)
    assert rest == whole
    assert path.read_text().startswith(kept), "finished rows are not written again"
    assert (told[-1].done, told[-1].total) == (10, 10)
    assert told[-1].tokens == sum(len(row.tokens) for row in rest) - sum(len(row.tokens) for row in first)
    assert write_corpus(lm, tasks, lane, SAMPLING, path) == whole, "nothing is left to do"


def test_a_text_with_line_separators_of_its_own_is_one_row(tmp_path: Path) -> None:
    rows = [row(0, "a\u2028b\x85c\nd\r"), row(1, "e")]
    (tmp_path / "c.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in rows), encoding="utf-8")
    assert read_corpus(tmp_path / "c.jsonl") == rows


def test_a_line_torn_inside_a_character_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes((row(0, "x").model_dump_json() + '\n{"completion": "é').encode()[:-1])
    assert read_corpus(path) == [row(0, "x")]


def test_two_processes_write_a_corpus_between_them(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    tasks = planned_rows(lm, capability())
    whole = write_corpus(lm, tasks, Lane(), SAMPLING, tmp_path / "one.jsonl")
    parts = [write_corpus(lm, tasks[rank::2], Lane(), SAMPLING, tmp_path / f"{rank}.jsonl") for rank in range(2)]
    assert sorted((*parts[0], *parts[1]), key=lambda row: row.number) == whole


def test_a_torn_last_line_is_written_again(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm, path = tiny_lm("llama"), tmp_path / "c.jsonl"
    tasks = planned_rows(lm, capability())
    whole = write_corpus(lm, tasks, Lane(), SAMPLING, path, batch_size=1)
    path.write_bytes(path.read_bytes()[:-20])
    assert all(row in whole for row in read_corpus(path))
    assert len(read_corpus(path)) == 4
    assert write_corpus(lm, tasks, Lane(), SAMPLING, path) == whole
    assert sorted(read_corpus(path), key=lambda row: row.number) == whole


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no json", "line 2"),
        ('{"number": 0}', "line 2: id: Field required"),
        ("[1]", "line 2"),
        (row(1, "x").model_dump_json().replace('"eos"', '"stopped"'), "line 2: finish"),
    ],
)
def test_a_damaged_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(f"{row(0, 'x').model_dump_json()}\n{line}\n")
    with pytest.raises(InputError, match=said):
        read_corpus(path)


def test_a_corpus_of_other_prompts_is_refused_and_kept(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm, path = tiny_lm("llama"), tmp_path / "c.jsonl"
    path.write_text(row(0, "x").model_dump_json() + "\n")
    with pytest.raises(InputError, match="of other prompts"):
        write_corpus(lm, planned_rows(lm, capability()), Lane(), SAMPLING, path)
    assert len(read_corpus(path)) == 1


def test_a_full_disk_keeps_what_was_there(
    tiny_lm: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, path = tiny_lm("llama"), tmp_path / "c.jsonl"
    tasks = planned_rows(lm, capability())
    write_corpus(lm, tasks[:2], Lane(), SAMPLING, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left.*every row before it is kept"):
        write_corpus(lm, tasks, Lane(), SAMPLING, path)
    assert [row.number for row in read_corpus(path)][:2] == [0, 1]


# --- hygiene -------------------------------------------------------------------------------------------------


def test_rows_are_dropped_for_the_first_reason_that_applies() -> None:
    long = "one two three four five six seven eight nine ten eleven twelve thirteen"
    rows = [
        row(0, "fine"), row(1, "fine"), row(2, " "), row(3, "loop", tokens=(7,) * 20),
        row(4, "x", prompt="Q: A held-out question!"), row(5, "y", prompt=f"Q: So: {long} and on"),
        row(6, "fine", prompt="Q: another"),
    ]  # fmt: skip
    rows = [one.model_copy(update={"id": f"e{one.number}"}) for one in rows]
    prompts = {one.id: one.prompt.removeprefix("Q: ") for one in rows}
    found = clean(rows, prompts, ["a held out QUESTION", f"{long} but"])
    assert [one.number for one in found.kept] == [0, 6]
    assert {reason: [one.number for one in rows] for reason, rows in found.dropped.items()} == {
        "duplicate": [1], "empty": [2], "degenerate": [3], "leakage": [4, 5],
    }  # fmt: skip
    assert found.counts["leakage"] == 2
    assert [one.number for one in clean(rows, prompts, drop=("empty",)).kept] == [0, 1, 3, 4, 5, 6]


def test_the_template_alone_is_no_overlap() -> None:
    template = "Here is a question that you should answer in one short sentence of words: {prompt} Answer:"
    rows = [row(0, "x", prompt=template.replace("{prompt}", "What is two plus two?"))]
    assert len(clean(rows, {"e": "What is two plus two?"}, ["What is three plus two?"]).kept) == 1
    assert clean(rows, {"e": "What is two plus two?"}, ["What is two plus two?"]).counts == {"leakage": 1}


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_batches_and_no_row_is_written_twice(
    count: int, tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    lm = tiny_lm("llama")
    tasks = planned_rows(lm, capability(), samples=2)
    alone = write_corpus(lm, tasks, Lane(), SAMPLING, tmp_path / "alone.jsonl", batch_size=3)
    path, told = tmp_path / "together.jsonl", {rank: list[Progress]() for rank in range(count)}

    def write(peers: Peers) -> list[CorpusRow]:
        own = told[peers.rank]
        return write_corpus(lm, tasks, Lane(), SAMPLING, path, batch_size=3, peers=peers, tell=own.append)

    assert side_by_side(count, write) == [alone] * count
    assert read_corpus(path) == alone, "one file, by number"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "alone.jsonl", path]
    batches = 4
    assert sum(len(own) - 1 for own in told.values()) == batches, "each was written by one of them"
    assert {own[-1].tokens for own in told.values()} == {sum(len(row.tokens) for row in alone)}


def test_a_corpus_that_was_begun_by_more_processes_is_gone_on_with(
    tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    """Killed, they leave their parts; what is missing is shared anew, by any number of processes."""
    lm = tiny_lm("llama")
    tasks = planned_rows(lm, capability(), samples=2)
    alone = write_corpus(lm, tasks, Lane(), SAMPLING, tmp_path / "alone.jsonl", batch_size=2)
    for count in (1, 2, 3):
        path = tmp_path / str(count) / "c.jsonl"
        path.parent.mkdir()
        for name, rows in {"c": alone[:2], "c.part-1": alone[4:6], "c.part-7": alone[8:9]}.items():
            text = "".join(row.model_dump_json() + "\n" for row in rows)
            path.with_name(f"{name}.jsonl").write_text(text + '{"number": 3, "id"')  # torn
        begun = {row.number for row in (*alone[:2], *alone[4:6], alone[8])}
        said: list[Progress] = []

        def write(peers: Peers, path: Path = path, said: list[Progress] = said) -> list[CorpusRow]:
            return write_corpus(lm, tasks, Lane(), SAMPLING, path, batch_size=2, peers=peers, tell=said.append)

        assert side_by_side(count, write) == [alone] * count
        assert sorted(path.parent.iterdir()) == [path]
        assert sorted(read_corpus(path), key=lambda row: row.number) == alone
        assert said[-1].tokens == sum(len(row.tokens) for row in alone if row.number not in begun)


def test_a_row_says_which_token_ended_it(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    tasks = planned_rows(lm, capability(), samples=8)
    long = Sampling(temperature=1.5, top_p=1.0, max_new_tokens=80, seed=5)
    rows = write_corpus(lm, tasks, Lane(), long, tmp_path / "c.jsonl")
    assert {row.finish for row in rows} == {"eos", "length"}
    assert all(row.end == (lm.tokenizer.eos_token_id if row.finish == "eos" else None) for row in rows)
