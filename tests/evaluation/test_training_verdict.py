"""Sentences on a training, for numbers by hand: they say what changed, and never more than so few prompts can show."""

import pytest

from spd_core.evaluation.training_verdict import training_verdict
from spd_core.runs.view import Curve, RunView


def curve(
    held_out: tuple[float, ...] = (), scored: tuple[tuple[int, int], ...] = (), train: tuple[float, ...] = ()
) -> Curve:
    """Two steps an epoch; measured at step 0 and after each epoch."""
    return Curve(
        steps=list(range(1, len(train) + 1)),
        epochs=[at / 2 for at in range(1, len(train) + 1)],
        losses=list(train),
        held_out=[(2 * epoch, float(epoch), loss) for epoch, loss in enumerate(held_out)],
        scored=[(2 * epoch, float(epoch), right, n) for epoch, (right, n) in enumerate(scored)],
    )


def said(works: bool = False, **curves: Curve) -> tuple[str, str]:
    return training_verdict(RunView(curves={(arm, 1): one for arm, one in curves.items()}), works=works)


def test_nothing_is_said_before_anything_was_measured() -> None:
    assert said() == said(spd=Curve()) == ("", "")


def test_the_method_comes_first_and_the_others_in_short() -> None:
    first, rest = said(
        psr=curve((2.068, 2.046), ((3, 8), (3, 8))), spd=curve((2.51, 2.3, 2.14), ((3, 8), (5, 8), (4, 8)))
    )
    assert first == (
        "SPD: held-out loss fell from 2.51 to 2.14 nats, that of PSR by 0.02; right on 3 of 8 held-out prompts before, "
        "4 at the end: too few to tell."
    )
    assert rest == (
        "PSR 2.07 → 2.05 nats, 3 of 8 right. Each arm is scored on text of its own: a lower loss does not "
        "make it the better model."
    )


def test_a_table_says_how_the_others_went() -> None:
    view = RunView(curves={("psr", 1): curve((2.068, 2.046)), ("spd", 1): curve((2.51, 2.14))})
    first, rest = training_verdict(view, works=False, tabled=True)
    assert first == "SPD: held-out loss fell from 2.51 to 2.14 nats, that of PSR by 0.02."
    assert rest == "Each arm is scored on text of its own: a lower loss does not make it the better model."


def test_what_was_stopped_has_no_end() -> None:
    stopped = curve((2.5, 2.0), ((3, 8), (4, 8)))
    stopped.planned = 6
    assert said(spd=stopped)[0].endswith("right on 3 of 8 held-out prompts before, 4 after epoch 1: too few to tell.")


def test_a_run_at_work_speaks_of_so_far() -> None:
    assert said(works=True, psr=curve((2.0, 2.1)))[0].startswith(
        "So far: PSR: held-out loss rose from 2.00 to 2.10 nats"
    )


def test_what_two_decimals_do_not_show_is_no_change() -> None:
    assert said(psr=curve((1.748, 1.7476)))[0] == "PSR: held-out loss stayed at 1.75 nats."
    assert said(psr=curve((1.7451, 1.7449)))[0].startswith("PSR: held-out loss fell from 1.75 to 1.74")


def test_runs_of_before_step_0_was_measured() -> None:
    old = Curve(held_out=[(4, 1.0, 2.06), (8, 2.0, 2.05)])
    assert said(psr=old)[0] == "PSR: held-out loss fell from 2.06 nats after epoch 1 to 2.05 after epoch 2."
    old.held_out.pop()
    assert said(psr=old)[0] == "PSR: held-out loss is 2.06 nats after epoch 1."


def test_without_held_out_rows_memory_is_named() -> None:
    assert said(psr=curve(train=(3.0, 2.0, 2.0, 1.0)))[0] == (
        "PSR: train loss fell from 2.50 nats in epoch 1 to 1.50 in epoch 2, and nothing was held out to tell learning "
        "from memory."
    )


@pytest.mark.parametrize(
    ("before", "after", "n", "says"),
    [
        (3, 4, 8, "too few to tell"),
        (0, 5, 5, "too few to tell"),  # five pairs, all one way: p = 2 / 2⁵ = 0.0625, however far apart they look
        (0, 6, 8, "more than luck would do"),  # 6 of 6 one way: p = 2 / 2**6 = 0.031
        (4, 12, 16, "luck could do that"),  # at worst 12 one way and 4 the other: p = 0.077
        (3, 13, 16, "more than luck would do"),  # at worst 13 and 3: p = 0.021
        (6, 0, 8, "more than luck would do"),
        (40, 50, 100, "luck could do that"),  # at worst 50 and 40: p = 0.34
        (20, 60, 100, "more than luck would do"),
    ],
)
def test_how_much_a_change_of_right_answers_says(before: int, after: int, n: int, says: str) -> None:
    assert said(spd=curve((2.0, 1.0), ((before, n), (after, n))))[0].endswith(f": {says}.")


def test_as_many_right_answers_as_before_are_said_once() -> None:
    """Which of them are right may have changed: only their number is known."""
    assert said(spd=curve((2.0, 1.0), ((3, 8), (3, 8))))[0].endswith(
        "right on 3 of 8 held-out prompts, before and at the end."
    )


def test_answers_of_different_prompts_are_not_compared() -> None:
    first, _ = said(spd=curve((2.0, 1.0), ((3, 8), (4, 7))))
    assert first.endswith("right on 4 of 7 held-out prompts after epoch 1.")
    assert "tell" not in first


def test_the_last_round_is_spoken_of() -> None:
    view = RunView(curves={("spd", 1): curve((3.0, 2.0)), ("spd", 2): curve((2.0, 1.5))})
    assert training_verdict(view, works=False)[0].startswith("SPD, round 2: held-out loss fell from 2.00 to 1.50")


@pytest.mark.parametrize(
    ("own", "others", "says"),
    [
        (
            (2.16, 2.13),
            ((2.25, 2.22), (2.17, 2.16)),
            "fell from 2.16 to 2.13 nats, those of 2 other arms by 0.01 to 0.03.",
        ),
        ((2.16, 2.13), ((2.25, 2.23), (2.17, 2.15)), "fell from 2.16 to 2.13 nats, those of 2 other arms by 0.02."),
        (
            (2.16, 2.13),
            ((2.25, 2.22), (2.17, 2.18)),
            "fell from 2.16 to 2.13 nats, those of 2 other arms changed by −0.03 to +0.01.",
        ),
        ((2.13, 2.16), ((2.25, 2.22),), "rose from 2.13 to 2.16 nats, that of PSR changed by −0.03."),
        ((2.16, 2.13), ((2.25,),), "fell from 2.16 to 2.13 nats."),  # it has only begun
    ],
)
def test_how_far_the_loss_of_the_others_went(
    own: tuple[float, ...], others: tuple[tuple[float, ...], ...], says: str
) -> None:
    curves = {name: curve(one) for name, one in zip(("psr", "ssd"), others, strict=False)}
    assert said(spd=curve(own), **curves)[0] == f"SPD: held-out loss {says}"
