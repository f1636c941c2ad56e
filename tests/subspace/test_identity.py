"""What makes two captures, and two subspaces, the same: what they were computed from, not the last bits."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spd_core.data.capability import Capability, read_builtin
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.pipeline import capture, capture_source, with_nulls
from spd_core.subspace.store import load_capture, save_capture
from spd_core.subspace.subspace import Subspace, random_subspace, subspace_of

SETTINGS = CaptureSettings(layers="1,2", examples=6, batch_size=1)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def sums() -> Capability:
    return read_builtin("arithmetic")


def changed(**settings: Any) -> CaptureSettings:
    return SETTINGS.model_copy(update=settings)


@pytest.fixture(scope="module")
def found(tiny_lm: Callable[[str], Any]) -> Analysis:
    return capture(tiny_lm("llama"), sums(), SETTINGS)


def bits(analysis: Analysis) -> bytes:
    return b"".join(site.vectors.tobytes() + site.values.tobytes() for site in analysis.sites.values())


def test_threads_and_rows_at_once_change_bits_and_not_the_capture(tiny_lm: Any) -> None:
    torch.set_num_threads(1)
    first = capture(tiny_lm("llama"), sums(), SETTINGS)
    torch.set_num_threads(2)
    second = capture(tiny_lm("llama"), sums(), changed(batch_size=6), name="another")
    assert bits(first) != bits(second)
    assert first.identity == second.identity
    one, other = subspace_of(first, "4"), subspace_of(second, "4")
    assert any(not torch.equal(one.basis[site], other.basis[site]) for site in one.sites)
    assert one.fingerprint == other.fingerprint


def test_how_it_was_made_and_what_was_kept_make_no_other_capture(found: Analysis, tiny_lm: Any, tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    save_capture(found, tmp_path / "saved")
    without_rows = capture_source(lm, sums(), "capability", SETTINGS, "raw", 3)
    half = subspace_of(found, "3")  # as the shell saves it: with a rank chosen
    for same in (
        load_capture(tmp_path / "saved"),
        without_rows,
        with_nulls(lm, found),
        found.limited(2),
        capture(lm, sums(), changed(examples=6, rank="3", strength=0.2)),
        dataclasses.replace(found, provenance=half.provenance, name="other"),
    ):
        assert same.identity == found.identity
        assert subspace_of(same, "4").fingerprint == subspace_of(found, "4").fingerprint


@pytest.mark.parametrize(
    ("change", "family", "dtype"),
    [
        ({"examples": 5}, "llama", torch.float32),
        ({"layers": "1"}, "llama", torch.float32),
        ({"loss": "full"}, "llama", torch.float32),
        ({"center": False}, "llama", torch.float32),
        ({}, "llama_bias", torch.float32),
        ({}, "llama", torch.float64),
    ],
)
def test_what_it_is_computed_from_makes_another(
    change: dict[str, Any], family: str, dtype: torch.dtype, found: Analysis, tiny_lm: Any, double_lm: Any
) -> None:
    lm = tiny_lm(family) if dtype == torch.float32 else double_lm(family)
    other = capture(lm, sums(), changed(**change))
    assert other.identity != found.identity
    assert subspace_of(other, "4").fingerprint != subspace_of(found, "4").fingerprint


def test_shuffled_answers_and_the_prompt_style_are_in_the_tokens(found: Analysis, tiny_lm: Any) -> None:
    lm = tiny_lm("llama")
    shuffles = [capture_source(lm, sums(), "shuffled answers", SETTINGS, "raw", seed) for seed in (1, 2, 1)]
    chat = capture(lm, sums(), SETTINGS, "chat")
    assert shuffles[0].identity == shuffles[2].identity
    assert len({one.identity for one in (found, chat, *shuffles)}) == 4


def test_a_subspace_is_its_capture_and_its_ranks(found: Analysis) -> None:
    prints = {
        name: one.fingerprint
        for name, one in {
            "4": subspace_of(found, "4"),
            "5": subspace_of(found, "5"),
            "4 per head": subspace_of(found, "2", per_head=True),
            "random": random_subspace(subspace_of(found, "4"), 1),
            "random 2": random_subspace(subspace_of(found, "4"), 2),
            "random of rank 5": random_subspace(subspace_of(found, "5"), 1),
        }.items()
    }
    assert len(set(prints.values())) == len(prints)
    half = subspace_of(found, "half")
    assert half.fingerprint == subspace_of(found, str(found.d_kv // 2)).fingerprint, "a rule for the same directions"


def test_a_random_subspace_is_its_seed_and_its_ranks_whatever_it_is_drawn_like(found: Analysis, tiny_lm: Any) -> None:
    other = capture(tiny_lm("llama"), sums(), changed(examples=4, loss="full"))
    one, same = (random_subspace(subspace_of(like, "4"), 7) for like in (found, other))
    assert all(torch.equal(one.basis[site], same.basis[site]) for site in one.sites)
    assert one.fingerprint == same.fingerprint


@pytest.mark.parametrize("lacking", ["examples", "unknown", "sampled"])
def test_a_capture_that_does_not_say_all_of_it_is_known_by_its_bits(lacking: str, found: Analysis) -> None:
    """A sample of the weights cannot tell a model from its folded copy."""
    revision = {"unknown": "unknown", "sampled": "sha256:0123456789abcdef"}.get(lacking, found.provenance.revision)
    provenance = found.provenance.model_copy(update={"revision": revision})
    old = dataclasses.replace(found, provenance=provenance, examples=() if lacking == "examples" else found.examples)
    site, one = next(iter(old.sites.items()))
    values = one.values.copy()
    values[-1] = np.nextafter(values[-1], 1)
    odd = dataclasses.replace(old, sites={**old.sites, site: dataclasses.replace(one, values=values)})
    assert old.origin == ""
    assert len({old.identity, odd.identity, found.identity}) == 3
    cut = subspace_of(old, "4")
    again = Subspace(cut.basis, cut.singular_values, cut.provenance)
    turned = Subspace({s: basis.flip(1) for s, basis in cut.basis.items()}, cut.singular_values, cut.provenance)
    assert cut.fingerprint == again.fingerprint != turned.fingerprint
