"""The table of what arms wrote while they were trained."""

from app.fine_tune.completions import completion_rows
from spd_core.runs.events import Sample


def _sample(arm: str, epoch: float, completion: str, round: int = 1) -> Sample:
    return Sample(time=1, arm=arm, round=round, step=int(4 * epoch), epoch=epoch, prompt="Q", completion=completion)


def test_a_completion_that_did_not_change_is_not_repeated() -> None:
    told = [
        _sample("psr", 0, " 20\n\n\nThe answer is: 20"),
        _sample("psr", 1, "20\n\nThe answer is: 20"),
        _sample("psr", 2, "34"),
        _sample("spd", 0, "20"),
        _sample("spd", 1, "34"),
        _sample("spd", 2, "34"),
    ]
    assert completion_rows(told, several_rounds=False) == [
        {"When": "before", "PSR": "20\nThe answer is: 20", "SPD": "20"},
        {"When": "after epoch 1", "PSR": "↑ the same", "SPD": "34"},
        {"When": "after epoch 2", "PSR": "34", "SPD": "↑ the same"},
    ]


def test_an_arm_that_has_not_written_yet_leaves_its_cell_empty_and_rounds_are_told_apart() -> None:
    told = [_sample("spd", 1, "34", round=2), _sample("psr", 1, "20"), _sample("spd", 1, "20")]
    assert completion_rows(told, several_rounds=True) == [
        {"Round": "1", "When": "after epoch 1", "SPD": "20", "PSR": "20"},
        {"Round": "2", "When": "after epoch 1", "SPD": "34", "PSR": ""},
    ]
