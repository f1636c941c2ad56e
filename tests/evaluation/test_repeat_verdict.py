"""The sentences over prompts and seeds say what was counted, and no more than the intervals."""

from collections.abc import Sequence
from typing import Any

import pytest

from spd_core.evaluation.repeat_plan import in_question
from spd_core.evaluation.repeat_table import Told, repeat_table
from spd_core.evaluation.repeat_verdict import repeat_verdict
from spd_core.evaluation.repeats import Repeat, RepeatedPrompt, RepeatedText
from spd_core.recipes.lanes import RAW, LaneSpec, Sampling
from tests.generation.test_comparison import lane

PROJECTED, RANDOM = LaneSpec(), LaneSpec(of="random")
LANES = (lane("Raw", []), lane("Projected", [], spec=PROJECTED), lane("Random subspace", [], spec=RANDOM))


def text(right: bool | None, ids: Sequence[int]) -> RepeatedText:
    n = len(ids)
    return RepeatedText(
        ids=tuple(ids), texts=("x ",) * n, logprobs=(-1.0,) * n, entropies=(1.0,) * n, finish="eos", seconds=1.0,
        right=right,
    )  # fmt: skip


def repeat_of(right: Sequence[Sequence[int]], differs: Sequence[Sequence[int]], seeds: int = 3, **more: Any) -> Repeat:
    """A lane a row of `right` and `differs`: for how many prompts it is right, and in how many it differs from raw."""
    prompts = len(right[0])
    lanes = LANES[: len(right)]
    texts = [
        [
            text(None if r[p] is None else bool(r[p]), [7, 8, 9 + bool(d[p])])
            for r, d in zip(right, differs, strict=True)
        ]
        for p in range(prompts)
    ]
    told = [
        [[Told(one.right, 2 if one.ids[2] > 9 else None, True, False) for one in texts[p]]] * seeds
        for p in range(prompts)
    ]
    known: dict[str, Any] = {
        "id": "one", "created": "2026-01-02T03:04:05", "model": "builtin", "revision": "tiny@1", "dtype": "float32",
        "device": "cpu", "analysis": "sums", "capability": "sums", "fingerprint": "f" * 64, "loss": "aligned",
        "prompt_style": "raw", "split": "heldout", "sampling": Sampling(), "seeds": tuple(range(seeds)),
        "lanes": lanes, "planned": (prompts, seeds), "seconds": 2.0, "versions": {},
        "prompts": tuple(
            RepeatedPrompt(
                prompt=f"{p} + 1?", answer="1", read=f"{p} + 1?", special_tokens=True, prompt_tokens=5,
                texts=(tuple(texts[p]),) * seeds,
            )
            for p in range(prompts)
        ),
        "table": repeat_table(told, *in_question([one.spec for one in lanes])),
    }  # fmt: skip
    return Repeat(**{**known, **more})


ALL, NONE = [1] * 8, [0] * 8
HALF = [1, 0] * 4


def test_no_difference_is_shown_where_the_interval_holds_zero() -> None:
    found = repeat_of([[1, 1, 1, 0, 0, 0, 1, 0], [1, 0, 1, 0, 0, 0, 1, 0], HALF], [NONE, ALL, ALL])
    said = repeat_verdict(found)
    assert said.startswith("Over 8 prompts × 3 seeds, Projected is right 9 of 24 times, Raw 12: no difference is shown")
    assert "Projected differs from Raw in 24 of 24 texts, Random subspace in 24: that the subspace matters" in said
    assert "matters is not shown (95%: " in said


def test_a_loss_that_its_control_has_too_is_not_the_subspace() -> None:
    said = repeat_verdict(repeat_of([ALL, NONE, NONE], [NONE, ALL, ALL]))
    assert "Projected is right 0 of 24 times, Raw 24: less often (95%: −100 to −" in said
    assert "Random subspace is right 0 times: that this subspace does more than this random one is not shown" in said


def test_a_loss_that_its_control_has_not_is_the_subspace() -> None:
    said = repeat_verdict(repeat_of([ALL, NONE, ALL], [NONE, ALL, NONE]))
    assert "Random subspace is right 24 times: the difference to this random subspace is shown, too (95%: −" in said
    assert "this subspace changes texts more often than this random one (95%: +" in said


def test_a_subspace_that_keeps_the_text_is_told() -> None:
    said = repeat_verdict(repeat_of([ALL, ALL, ALL], [NONE, NONE, ALL]))
    assert "this subspace changes texts less often than this random one" in said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: repeat_of([[1] * 4, [0] * 4], [[0] * 4, [1] * 4]), "4 prompts are too few to show a difference"),
        (lambda: repeat_of([ALL, ALL], [NONE, NONE]), "without a control lane it is open"),
        (lambda: repeat_of([ALL, ALL, ALL], [NONE, NONE, NONE]), "neither changes any of these texts"),
        (lambda: repeat_of([[1], [0], [0]], [[0], [1], [1]], seeds=9), "This speaks of one prompt alone"),
        (lambda: repeat_of([ALL, ALL], [NONE, NONE], planned=(12, 3)), "Stopped early: 12 × 3 were asked for"),
        (
            lambda: repeat_of([ALL, ALL], [NONE, ALL], sampling=Sampling(shared_randomness=False)),
            "Every lane drew its own noise",
        ),
    ],
)
def test_what_it_leaves_open_is_said(made: Any, said: str) -> None:
    assert said in repeat_verdict(made())


def test_where_no_answer_is_known_only_texts_are_compared() -> None:
    unknown: Any = [None] * 8
    said = repeat_verdict(repeat_of([unknown] * 3, [NONE, ALL, ALL]))
    assert "right" not in said
    assert said.startswith("Over 8 prompts × 3 seeds, Projected differs from Raw in 24 of 24 texts")


def test_the_lane_in_question_is_the_projection_and_its_control_is_random() -> None:
    mixed = LaneSpec.model_validate({"strength": 0, "gains": [{"layer": 1, "kind": "value", "directions": [[1, 0.0]]}]})
    drawn = mixed.model_copy(update={"of": "random"})
    complement = LaneSpec(complement=True)
    assert in_question([RAW, PROJECTED, complement, RANDOM]) == (1, 3)
    assert in_question([RAW, RANDOM, mixed, drawn]) == (2, 3), "the same gains on random directions"
    assert in_question([RAW, LaneSpec(of="none", adapter="run/spd")]) == (1, None)
    assert in_question([RAW]) == (None, None)
