"""A repeat as a whole: which prompts and seeds, what is scored, its file, and the texts of a cell."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spd_core.errors import InputError, Stopped
from spd_core.evaluation.repeat_plan import prompts_from, seeds_of
from spd_core.evaluation.repeating import repeat_lanes
from spd_core.evaluation.repeats import (
    Repeat,
    cell_of,
    find_repeat,
    read_repeat,
    remove_repeat,
    repeat_files,
    save_repeat,
    text_lines,
    text_rows,
)
from spd_core.evaluation.scoring import last_number
from spd_core.generation.compare import compare
from spd_core.generation.comparison import LaneText
from spd_core.recipes.lanes import RAW, LaneSpec, Sampling
from spd_core.subspace.analysis import Analysis
from tests.generation.test_compare import HALF, analysis_of

WARM = Sampling(temperature=1.2, max_new_tokens=10, seed=4)
SPECS = (RAW, HALF, HALF.model_copy(update={"of": "random"}))


@pytest.fixture(scope="module")
def sums(tiny_lm: Callable[[str], Any]) -> Analysis:
    return analysis_of(tiny_lm("llama"))


@pytest.fixture(scope="module")
def made(tiny_lm: Callable[[str], Any], sums: Analysis) -> Repeat:
    return repeat_lanes(tiny_lm("llama"), sums, "3 + 4?", SPECS, WARM, prompts=3, seeds=2)


def test_the_prompt_comes_first_and_others_of_its_split_follow(sums: Analysis) -> None:
    split, examples = prompts_from(sums.capability, "3 + 4?", 3)
    assert (split, [one.prompt for one in examples]) == ("calibration", ["3 + 4?", "0 + 4?", "1 + 4?"])
    assert prompts_from(sums.capability, "my own", 8) == (None, [])
    assert len(prompts_from(sums.capability, "3 + 4?", 99)[1]) == 8, "there are no more"


def test_seeds_count_up_and_greedy_has_one() -> None:
    assert seeds_of(WARM, 3) == (4, 5, 6)
    assert seeds_of(dataclasses.replace(WARM, temperature=0.0), 3) == (4,)


def test_each_cell_is_what_generate_writes(tiny_lm: Callable[[str], Any], sums: Analysis, made: Repeat) -> None:
    assert (len(made.prompts), made.seeds, made.stopped) == (3, (4, 5), False)
    for p, asked in enumerate(made.prompts):
        for s, seed in enumerate(made.seeds):
            alone = compare(
                tiny_lm("llama"), sums, asked.prompt, SPECS, dataclasses.replace(WARM, seed=seed), answer=asked.answer
            )
            cell = made.comparison(p, s)
            assert [_without_numbers(lane.unread()) for lane in alone.lanes] == [
                _without_numbers(lane) for lane in cell.lanes
            ]
            # More texts at once are summed in another order: the last digit that is kept is the machine's.
            for own, others in zip(alone.lanes, cell.lanes, strict=True):
                for name in ("logprob", "entropy"):
                    kept = [getattr(token, name) for token in others.tokens]
                    assert kept == pytest.approx([getattr(token, name) for token in own.tokens], abs=3e-5)
            assert made.belongs_to(cell)
            assert made.belongs_to(alone)
            assert (cell.read, cell.answer, cell.sampling) == (alone.read, alone.answer, alone.sampling)
            assert {**cell.origin, "created": ""} == {**alone.origin, "created": ""}


def _without_numbers(lane: LaneText) -> LaneText:
    tokens = tuple(token.model_copy(update={"logprob": 0.0, "entropy": 0.0}) for token in lane.tokens)
    return lane.model_copy(update={"seconds": 0.0, "tokens": tokens})


def test_it_belongs_to_no_other_comparison(made: Repeat) -> None:
    cell = made.comparison(0, 0)
    hotter = dataclasses.replace(WARM, temperature=0.3)
    for other in ({"sampling": hotter}, {"prompt": "another"}, {"lanes": cell.lanes[:2]}, {"prompt_style": "chat"}):
        assert not made.belongs_to(cell.model_copy(update=other))


def test_right_is_what_the_capability_says(made: Repeat) -> None:
    """The capability of sums is scored by its last number."""
    for asked in made.prompts:
        for texts in asked.texts:
            for text in texts:
                assert asked.answer is not None
                assert text.right == (last_number(text.text) == last_number(asked.answer))
    assert made.table.rows[0].right is not None


def test_an_own_prompt_is_repeated_over_seeds_alone(tiny_lm: Callable[[str], Any], sums: Analysis) -> None:
    found = repeat_lanes(tiny_lm("llama"), sums, "my own", SPECS, WARM, prompts=8, seeds=4)
    assert [one.prompt for one in found.prompts] == ["my own"]
    assert (found.seeds, found.table.unit, found.split) == ((4, 5, 6, 7), "seed", "")
    assert found.table.rows[1].right is None


def test_a_stop_keeps_whole_prompts_and_none_is_refused(tiny_lm: Callable[[str], Any], sums: Analysis) -> None:
    told: list[float] = []
    found = repeat_lanes(
        tiny_lm("llama"), sums, "3 + 4?", SPECS, WARM, prompts=3, seeds=2,
        tell=lambda at: told.append(at.done), stop=lambda: bool(told) and told[-1] >= 6,
    )  # fmt: skip
    assert (len(found.prompts), found.planned, found.stopped) == (1, (3, 2), True)
    with pytest.raises(Stopped, match="nothing to count"):
        repeat_lanes(tiny_lm("llama"), sums, "3 + 4?", SPECS, WARM, stop=lambda: True)


def test_to_disk_and_back(made: Repeat, empty_history: Path) -> None:
    path = save_repeat(made)
    assert read_repeat(path) == made
    assert find_repeat(made.id) == path
    assert repeat_files()[0] == path
    remove_repeat(made.id)
    assert repeat_files()[:1] != [path]
    with pytest.raises(InputError, match="nothing was deleted"):
        remove_repeat(made.id)
    path.write_text("{}")
    with pytest.raises(InputError, match="repeat again"):
        read_repeat(path)
    with pytest.raises(InputError, match="no repeat"):
        find_repeat("other")


def test_names_of_cells() -> None:
    assert cell_of("20260102-sums-1.p3.s2") == ("20260102-sums-1", 2, 1)
    assert cell_of("arithmetic-1") is None
    assert cell_of("a.p1.sx") is None


def test_rows_and_lines_have_every_text(made: Repeat) -> None:
    rows = list(text_rows(made))
    assert len(rows) == 3 * 2 * 3
    assert text_lines(made).count("\n") == 18
    assert {row["first_divergence"] for row in rows if row["lane"] == "Raw"} == {None}
    first = made.prompts[0].texts[0]
    parted = next(
        (at for at, pair in enumerate(zip(first[0].ids, first[1].ids, strict=False), 1) if pair[0] != pair[1]), None
    )
    assert rows[1]["first_divergence"] == parted


def test_a_lone_lane_has_nothing_to_be_compared_with(tiny_lm: Callable[[str], Any], sums: Analysis) -> None:
    found = repeat_lanes(tiny_lm("llama"), sums, "3 + 4?", (RAW, LaneSpec(of="none")), WARM, prompts=1, seeds=1)
    assert found.table.rows[1].differs.count == 0
