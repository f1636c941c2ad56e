"""What audits come to and may be said to show: small audits whose numbers are worked out by hand."""

import math
import subprocess
import sys

import pytest

from spd_core.distill import audit_steps, verification
from spd_core.distill.audit_steps import shared_parts, step_means, unrelated
from spd_core.distill.audit_verdict import audit_verdict
from spd_core.distill.audits import Audit, AuditedChunk
from tests import ROOT


def chunk(
    own: str = "abcd", others: tuple[str, ...] = ("abcd",), similar: float = 1.0, target: float = 0.5
) -> AuditedChunk:
    return AuditedChunk(start=0, own=own, others=others, similar=(similar,) * len(others), prior=0.25, target=target)


def audit(step: int, number: int, *chunks: AuditedChunk, divergence: float | None = 0.5) -> Audit:
    return Audit(
        step=step, number=number, prompt="Q", tokens=("a", "b"), entropies=(1.0, 3.0), chunks=chunks,
        divergence=divergence,
    )  # fmt: skip


def test_the_means_of_a_step_are_of_its_rollouts_and_chunks() -> None:
    audits = [audit(2, 0), audit(1, 0, chunk(target=0.2), chunk(target=0.4)), audit(1, 1, divergence=None)]
    first, second = step_means(audits)
    assert (first.step, first.rollouts, first.chunks, first.unaudited) == (1, 2, 1.0, 0.5)
    assert first.target == pytest.approx(0.3)
    assert (first.prior, first.agreement, first.divergence, first.entropy) == (0.25, 1.0, 0.5, 2.0)
    assert (second.step, second.unaudited) == (2, 1.0)
    assert math.isnan(second.target)


def test_pages_measure_likeness_by_the_function_that_the_training_uses() -> None:
    assert audit_steps.similarity is verification.similarity


def test_shared_parts_are_the_other_text_and_what_both_have() -> None:
    parts = shared_parts("kitten", "sitting")
    assert "".join(text for text, _ in parts) == "sitting"
    assert "".join(text for text, same in parts if same) == "ittn", "one way of three edits leaves these"


def test_unrelated_texts_are_those_for_another_prompt() -> None:
    """Each chunk with the other prompt's continuations: `abcd` and `abxx` share half; its own prompt's do not count."""
    audits = [audit(1, 0, chunk("abcd", ("abcd",)), chunk("abcd", ("abcd",))), audit(1, 1, chunk("abxx", ("abxx",)))]
    assert unrelated(audits) == pytest.approx(0.5)
    assert math.isnan(unrelated(audits[:1])), "there is no other prompt"


def test_nothing_is_said_of_nothing() -> None:
    assert audit_verdict([]) == ""


def test_it_is_said_where_no_rollout_has_a_chunk() -> None:
    assert audit_verdict([audit(1, 0), audit(1, 1)]).startswith("None of the 2 rollouts is as long as a chunk.")


def test_agreement_and_weight_are_told_and_what_unrelated_texts_would_have() -> None:
    audits = [
        audit(step, number, chunk("ab" if number else "cd", ("ab" if number else "cd",), target=target))
        for step, target in ((1, 0.38), (2, 0.39), (3, 0.41))
        for number in (0, 1)
    ]
    assert audit_verdict(audits) == (
        "The teacher agrees with 100% of what the student wrote (k ÷ N); the weight went from 0.38 to 0.41 in 3 steps. "
        "With what it wrote for other prompts it would be 0%."
    )


def test_a_change_within_the_swing_between_steps_is_no_change() -> None:
    audits = [audit(step, 0, chunk(target=target)) for step, target in ((1, 0.3), (2, 0.5), (3, 0.32))]
    assert "went from 0.30 to 0.32 in 3 steps, no more than it swings between two of them." in audit_verdict(audits)
    level = [audit(step, 0, chunk(target=0.3)) for step in (1, 2)]
    assert "the weight is 0.30 at the first and at the last of 2 steps." in audit_verdict(level)
    assert "the mean weight in step 1 is 0.30." in audit_verdict(level[:1])


def test_agreement_no_higher_than_with_other_prompts_is_said_plainly() -> None:
    audits = [audit(1, 0, chunk("ab", ("cd",), 0.0)), audit(1, 1, chunk("cd", ("ab",), 0.0))]
    assert "With what it wrote for other prompts it would be 100%: the agreement is no higher" in audit_verdict(audits)


def test_rollouts_without_a_chunk_are_counted() -> None:
    few = [audit(1, 0, chunk()), audit(1, 1, chunk()), audit(1, 2)]
    assert "1 of 3 rollouts (33%) are shorter than a chunk, and teach nothing" in audit_verdict(few)
    most = [audit(1, 0, chunk()), audit(1, 1), audit(1, 2)]
    assert "2 of 3 rollouts (67%) are shorter than a chunk: the method has little to work on." in audit_verdict(most)


def test_pages_can_read_audits_without_torch() -> None:
    names = "audit_verdict", "audit_steps", "recorded_audits"
    check = f"import {', '.join(f'spd_core.distill.{name}' for name in names)}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0
