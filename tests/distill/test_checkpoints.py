"""A training that is killed or runs into a full disk while it writes a checkpoint goes on, and to the same weights."""

import json
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from spd_core.distill import checkpoints
from spd_core.distill.checkpoints import ADAPTER, CHECKPOINTS, STAGING, STATE, fitting, rows_digest
from spd_core.distill.train import train
from spd_core.errors import NewerFormatError, StorageError
from spd_core.intervention.cards import read_card
from tests.distill.test_train import QUICK, corpus, weights

ROWS = 10
"""Three steps an epoch, three epochs: checkpoints at steps 3, 6 and 9."""


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def uninterrupted(tiny_lm: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole training, with its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    train(tiny_lm("llama"), corpus(tiny_lm("llama"), ROWS), QUICK, folder)
    return folder


def stopped(lm: Any, folder: Path, at: int) -> None:
    """Train until a step."""
    steps = iter(range(1, 100))
    train(lm, corpus(lm, ROWS), QUICK, folder, stop=lambda: next(steps) == at)


_WATCHER: list[Callable[[], None]] = []
_HOOKED: list[bool] = []


@contextmanager
def at_every_change_of(folder: Path, look: Callable[[], None]) -> Iterator[None]:
    """Call `look` before anything below a folder is opened to be written, renamed or removed."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _WATCHER and event in ("open", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.mkdir"):
            look_now, _WATCHER[:] = _WATCHER[0], []
            try:
                if any(str(path).startswith(str(folder)) for path in args[:2]):
                    look_now()
            finally:
                _WATCHER[:] = [look_now]

    if not _HOOKED:  # Python cannot take a hook away again
        sys.addaudithook(hook)
        _HOOKED.append(True)
    _WATCHER[:] = [look]
    try:
        yield
    finally:
        _WATCHER.clear()


def test_whatever_a_kill_leaves_is_gone_on_from(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    """What a kill would leave, at every moment at which a file or folder changes while two checkpoints are written."""
    lm, work, moments = tiny_lm("llama"), tmp_path / "work", tmp_path / "moments"
    short = QUICK.model_copy(update={"epochs": 2})
    moments.mkdir()

    def keep() -> None:
        if (work / CHECKPOINTS).exists():
            shutil.copytree(work / CHECKPOINTS, moments / f"{len(list(moments.iterdir())):03}")

    with at_every_change_of(work / CHECKPOINTS, keep):
        train(lm, corpus(lm, ROWS), short, work)
    states = {tuple(sorted(str(path.relative_to(moment)) for path in moment.rglob("*"))): moment
              for moment in sorted(moments.iterdir())}  # fmt: skip
    assert sum(any(STAGING in name and name.endswith(".safetensors") for name in names) for names in states) > 5
    for moment in states.values():
        place = tmp_path / "resumed" / moment.name
        shutil.copytree(moment, place / CHECKPOINTS)
        found = train(lm, corpus(lm, ROWS), short, place)
        assert (found.card.steps, found.card.finished) == (6, True)
        assert_same(place, work)
        assert not (place / CHECKPOINTS / STAGING).exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors", STATE])
def test_a_checkpoint_that_is_cut_short_is_passed_over(
    name: str, tiny_lm: Callable[[str], Any], tmp_path: Path, uninterrupted: Path
) -> None:
    """As after a power cut: the file has its name and not its bytes. The older checkpoint is gone on from."""
    lm = tiny_lm("llama")
    stopped(lm, tmp_path, at=7)
    damaged = tmp_path / CHECKPOINTS / "checkpoint-7" / name
    damaged.write_bytes(damaged.read_bytes()[:100])
    found = train(lm, corpus(lm, ROWS), QUICK, tmp_path)
    assert found.news[0].step == 7, "from step 6 on"
    assert_same(tmp_path, uninterrupted)


@pytest.mark.parametrize("room", [1000, None], ids=["the adapter", "the optimizer"])
def test_a_full_disk_is_a_sentence_and_the_checkpoint_before_is_gone_on_from(
    room: int | None, tiny_lm: Callable[[str], Any], tmp_path: Path, uninterrupted: Path
) -> None:
    """Files may not grow beyond a limit of the system, so that the libraries' own errors are met."""
    lm, before = tiny_lm("llama"), resource.getrlimit(resource.RLIMIT_FSIZE)
    adapter = (uninterrupted / CHECKPOINTS / "checkpoint-9" / "adapter_model.safetensors").stat().st_size
    steps = iter(range(1, 100))

    def fill_at_the_fifth_step() -> bool:
        if next(steps) == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room or adapter + 1000, before[1]))
        return False

    try:
        with pytest.raises(StorageError, match=r"checkpoint-6.*the checkpoint before it is whole.*resume"):
            train(lm, corpus(lm, ROWS), QUICK, tmp_path, stop=fill_at_the_fifth_step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / CHECKPOINTS).glob("*check*")] == ["checkpoint-3"]
    assert not (tmp_path / CHECKPOINTS / STAGING).exists(), "what takes room for nothing is gone"
    found = train(lm, corpus(lm, ROWS), QUICK, tmp_path)
    assert found.news[0].step == 4
    assert_same(tmp_path, uninterrupted)


def test_rows_that_were_rejected_after_a_checkpoint_are_not_trained_on(
    tiny_lm: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = tiny_lm("llama")
    kept = corpus(lm, ROWS)[:6]
    never = train(lm, kept, QUICK, tmp_path / "never had them")
    stopped(lm, tmp_path / "rejected", at=4)
    found = train(lm, kept, QUICK, tmp_path / "rejected")
    assert "was made with other rows" in capsys.readouterr().err
    assert_same(tmp_path / "rejected", tmp_path / "never had them")
    card = read_card(tmp_path / "rejected" / ADAPTER)
    assert (card.rows, card.steps, card.planned) == (6, never.card.steps, never.card.planned)
    assert card.corpus == never.card.corpus == rows_digest(kept)
    assert found.news[0].step == 1


def test_a_checkpoint_of_an_earlier_version_counts_where_no_row_was_rejected(
    tiny_lm: Callable[[str], Any], tmp_path: Path, uninterrupted: Path
) -> None:
    lm = tiny_lm("llama")
    stopped(lm, tmp_path, at=4)
    (tmp_path / CHECKPOINTS / "checkpoint-4" / "whole.json").unlink()
    (tmp_path / CHECKPOINTS / "checkpoint-3" / "whole.json").unlink()
    rows = rows_digest(corpus(lm, ROWS))
    assert [path.name for path in fitting(tmp_path / CHECKPOINTS, rows)] == ["checkpoint-4", "checkpoint-3"]
    assert fitting(tmp_path / CHECKPOINTS, rows, unmarked=False) == []
    assert train(lm, corpus(lm, ROWS), QUICK, tmp_path).news[0].step == 5
    assert_same(tmp_path, uninterrupted)


def test_a_checkpoint_of_a_newer_version_is_left_alone(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    stopped(lm, tmp_path, at=4)
    newest = tmp_path / CHECKPOINTS / "checkpoint-4" / "whole.json"
    newest.write_text(newest.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(NewerFormatError):
        train(lm, corpus(lm, ROWS), QUICK, tmp_path)
    assert newest.exists()


def test_the_best_checkpoint_is_found_by_its_place(tiny_lm: Callable[[str], Any], tmp_path: Path) -> None:
    """Early stopping keeps the best one, which the library names by the folder it was written into."""
    lm = tiny_lm("llama")
    patient = QUICK.model_copy(update={"epochs": 4, "patience": 2})
    train(lm, corpus(lm, ROWS), patient, tmp_path / "whole", held_out=corpus(lm, 3, first=50))
    steps = iter(range(1, 100))
    half = tmp_path / "half"
    train(lm, corpus(lm, ROWS), patient, half, held_out=corpus(lm, 3, first=50), stop=lambda: next(steps) == 5)
    train(lm, corpus(lm, ROWS), patient, half, held_out=corpus(lm, 3, first=50))
    assert_same(half, tmp_path / "whole")
    names = [path.read_text() for path in half.glob(f"{CHECKPOINTS}/checkpoint-*/{STATE}")]
    assert names
    assert not any(STAGING in text for text in names)


def test_the_best_is_kept_when_the_run_was_moved_and_refused_when_it_is_gone(
    tiny_lm: Callable[[str], Any], tmp_path: Path
) -> None:
    """Killed after the last step, before the best weights were taken: the state names a folder that is elsewhere.

    The held-out rows end with another letter after the same prompt: the surer of the one, the worse the other.
    """
    lm = tiny_lm("llama")
    one, other = ([row.model_copy(update={"prompt": "Count", "completion": letter, "finish": "length",
                                          "tokens": tuple(lm.tokenizer(letter, add_special_tokens=False)["input_ids"])})
                   for row in corpus(lm, ROWS)] for letter in "az")  # fmt: skip
    worse = other[:3]
    patient = QUICK.model_copy(update={"epochs": 3, "patience": 3, "learning_rate": 0.02, "loss_on": "completion"})
    train(lm, one, patient, tmp_path / "whole", held_out=worse)
    places = sorted((tmp_path / "whole" / CHECKPOINTS).glob("checkpoint-*"))
    best = {json.loads((place / STATE).read_text())["best_global_step"] for place in places}
    assert [place.name for place in places] == ["checkpoint-3", "checkpoint-9"], "the held-out loss rose after step 3"
    assert best == {3}
    shutil.copytree(tmp_path / "whole" / CHECKPOINTS, tmp_path / "moved" / CHECKPOINTS)
    shutil.move(tmp_path / "whole" / CHECKPOINTS, tmp_path / "elsewhere")
    train(lm, one, patient, tmp_path / "moved", held_out=worse)
    assert_same(tmp_path / "moved", tmp_path / "whole")
    shutil.copytree(tmp_path / "elsewhere" / "checkpoint-9", tmp_path / "alone" / CHECKPOINTS / "checkpoint-9")
    found = train(lm, one, patient, tmp_path / "alone", held_out=worse)
    assert found.news[0].step <= 1, "the newest one without the best is not gone on from"
    assert_same(tmp_path / "alone", tmp_path / "whole")


def test_a_folder_gets_its_name_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named is complete, and what it was made with is known."""
    written, order = tmp_path / STAGING / "checkpoint-1", []
    written.mkdir(parents=True)
    (written / STATE).write_text("{}")
    rename = checkpoints.os.replace

    def watching(source: Any, target: Any) -> None:
        order.append(Path(target).name)
        rename(source, target)

    monkeypatch.setattr(checkpoints.os, "replace", watching)
    checkpoints.put_in_place(written, tmp_path / "checkpoint-1", "rows")
    assert order == ["whole.json", "checkpoint-1"]
    assert fitting(tmp_path, "rows") == [tmp_path / "checkpoint-1"]
    assert fitting(tmp_path, "other rows") == []
