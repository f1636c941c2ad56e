"""How much of texts is right, against one text at a time with all its logits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from spd_core.attribution.right_texts import right_texts
from spd_core.errors import Stopped
from spd_core.progress import Progress
from tests.subspace.test_capture import random_examples


def test_a_loss_token_is_right_where_the_model_would_write_it(tiny_lm: Callable[[str], Any]) -> None:
    lm = tiny_lm("llama")
    examples = random_examples(5).examples
    written = []
    for example in examples:  # some of them with what the model would write
        ids = list(example.ids)
        if len(written) % 2:
            for t in example.supervised:
                with torch.inference_mode():
                    ids[t] = int(lm.model(torch.tensor([ids])).logits[0, t - 1].argmax())
        written.append(type(example)(example.id, example.text, tuple(ids), example.offsets, example.supervised))
    expected = {}
    for example in written:
        with torch.inference_mode():
            likely = lm.model(torch.tensor([example.ids])).logits[0].argmax(-1)
        right = [int(likely[t - 1]) == example.ids[t] for t in example.supervised]
        expected[example.id] = sum(right) / len(right)
    told: list[Progress] = []
    assert right_texts(lm, written, batch_size=2, tell=told.append) == expected
    assert {0, 1} <= set(expected.values())
    assert told[-1].done == 5
    asked = iter([False, True])
    assert len(right_texts(lm, written, batch_size=2, stop=lambda: next(asked))) == 2
    with pytest.raises(Stopped):
        right_texts(lm, written, stop=lambda: True)
