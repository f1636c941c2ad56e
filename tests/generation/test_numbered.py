"""Prompts that are written by number: each as it would be alone, with its special tokens or without."""

from collections.abc import Callable
from typing import Any

from spd_core.generation.decode import generate
from spd_core.generation.numbered import NumberedPrompt, write_batch
from spd_core.intervention.projection import Lane
from spd_core.recipes.lanes import Sampling

PROMPTS = [NumberedPrompt(5, "one"), NumberedPrompt(2, "two and two", special=False), NumberedPrompt(9, "three")]
SAMPLING = Sampling(temperature=1.0, max_new_tokens=5)


def test_each_prompt_is_written_as_alone_under_its_number(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    found = {one.number: done.tokens for one, done in write_batch(lm, Lane(), PROMPTS, SAMPLING)}
    alone = {
        one.number: generate(
            lm, [one.prompt], [Lane()], SAMPLING, special_tokens=one.special, numbers=[one.number]
        )[0].tokens
        for one in PROMPTS
    }  # fmt: skip
    assert found == alone


def test_what_a_stop_cuts_off_is_left_out(tiny_lm: Callable[[str], Any]) -> None:
    asked = iter(range(100))
    assert list(write_batch(tiny_lm("llama"), Lane(), PROMPTS, SAMPLING, lambda: next(asked) >= 2)) == []
