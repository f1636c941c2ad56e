"""Captures on disk: the round trip, folders that the shell wrote before, damage, and how a capture is named."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spd_core.data.capability import read_builtin
from spd_core.errors import InputError
from spd_core.models.families import site_record
from spd_core.recipes.capture import CaptureSettings
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.capture import capture_gradients
from spd_core.subspace.pipeline import capture, encoded_examples
from spd_core.subspace.store import (
    capture_at,
    captures_folder,
    find_capture,
    load_capture,
    open_capture,
    place_of,
    reference_of,
    save_capture,
    saved_captures,
)
from spd_core.subspace.subspace import Subspace, fit, subspace_of
from tests.subspace.test_capture import random_examples

SETTINGS = CaptureSettings(layers="1,2", examples=6)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def found(tiny_lm: Callable[[str], Any]) -> Analysis:
    return capture(tiny_lm("llama"), read_builtin("arithmetic"), SETTINGS, name="sums")


def write_old(subspace: Subspace, folder: Path) -> None:
    """What the command `capture` wrote until November 2026, from its description then."""
    folder.mkdir(parents=True)
    tensors = {}
    for site in subspace.sites:
        tensors[f"{site.name}.basis"] = subspace.basis[site].contiguous()
        tensors[f"{site.name}.singular_values"] = subspace.singular_values[site].contiguous()
    save_file(tensors, folder / "subspace.safetensors", metadata={"format": "pt"})
    record = {**subspace.provenance.model_dump(mode="json"), "sites": [site_record(site) for site in subspace.sites]}
    (folder / "subspace.json").write_text(json.dumps(record))


# --- one kind of folder ------------------------------------------------------------------------------------------


def test_a_capture_opens_by_folder_and_by_name(found: Analysis, tmp_path: Path) -> None:
    save_capture(found, captures_folder() / "sums")
    save_capture(found, tmp_path / "elsewhere")
    assert saved_captures() == ["sums"]
    for again in (open_capture("sums"), capture_at("sums"), capture_at(str(tmp_path / "elsewhere"))):
        assert again.provenance == found.provenance
        for site, one in found.sites.items():
            np.testing.assert_array_equal(again.sites[site].vectors, one.vectors)
    assert open_capture("sums").name == "sums"
    assert capture_at("arithmetic").recorded, "those that come along have names, too"
    with pytest.raises(InputError, match="no capture 'nothing' is saved"):
        capture_at("nothing")
    with pytest.raises(InputError, match="neither analysis.json nor subspace.json"):
        capture_at(str(tmp_path))
    with pytest.raises(InputError, match="not a name"):
        open_capture("../elsewhere")


def test_a_capture_in_a_run_opens_by_run_and_name(found: Analysis, home: Path) -> None:
    place = home / "runs" / "20261201-run" / "captures" / "capability-ab12"
    save_capture(found, place)
    save_capture(found, captures_folder() / "sums")
    for again in (open_capture("20261201-run/capability-ab12"), capture_at("20261201-run/capability-ab12")):
        assert again.identity == found.identity
    assert open_capture("20261201-run/capability-ab12").name == "20261201-run/capability-ab12"
    assert reference_of(place) == "20261201-run/capability-ab12"
    assert place_of(reference_of(place)) == find_capture(reference_of(place)) == place
    assert reference_of(captures_folder() / "sums") == "sums"
    assert reference_of(home / "else" / "sums") == str(home / "else" / "sums")
    assert saved_captures() == ["sums"], "it is the run's, and on no shelf"
    with pytest.raises(InputError, match="no capture '20261201-run/other' is on this machine; its run was deleted"):
        open_capture("20261201-run/other")


@pytest.mark.parametrize(
    "name", ["../runs/x", "x/../../captures/sums", "x/..", "/etc/passwd", "run/a/b", "run/", "/sums", "linked/sums"]
)
def test_no_reference_leads_out_of_its_folder(name: str, found: Analysis, home: Path) -> None:
    save_capture(found, home / "outside" / "captures" / "sums")
    (home / "runs" / "x" / "captures").mkdir(parents=True)
    (home / "runs" / "linked").mkdir()
    (home / "runs" / "linked" / "captures").symlink_to(home / "outside" / "captures")
    with pytest.raises(InputError, match="is not a name of a saved result"):
        open_capture(name)


def test_bases_of_single_heads_are_those_of_the_gradients(found: Analysis, tiny_lm: Any, tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    direct = fit(
        capture_gradients(lm, encoded_examples(lm, read_builtin("arithmetic"), SETTINGS), (1, 2)), lm, rank="3",
        per_head=True,
    )  # fmt: skip
    save_capture(found, tmp_path / "sums")
    for one in (found, load_capture(tmp_path / "sums")):
        mine = subspace_of(one, "3", per_head=True)
        assert mine.provenance.basis == "per-head"
        assert mine.provenance.ranks == direct.provenance.ranks == dict.fromkeys(direct.provenance.ranks, 6)
        for site in direct.sites:
            torch.testing.assert_close(mine.projector(site), direct.projector(site), atol=1e-5, rtol=0)
            np.testing.assert_allclose(mine.singular_values[site], direct.singular_values[site], rtol=1e-6)


def test_a_capture_remembers_the_rank_it_was_made_with(found: Analysis) -> None:
    made = dataclasses.replace(found, provenance=subspace_of(found, "2", per_head=True).provenance)
    assert subspace_of(made).provenance.ranks == dict.fromkeys(subspace_of(made).provenance.ranks, 4), "2 of 2 heads"
    assert set(subspace_of(made, "5", per_head=False).provenance.ranks.values()) == {5}
    assert set(subspace_of(found).provenance.ranks.values()) == {found.d_kv // 2}


# --- folders of before -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("per_head", [False, True])
def test_what_the_shell_wrote_before_is_read(family: str, per_head: bool, tmp_path: Path, tiny_lm: Any) -> None:
    lm = tiny_lm(family)
    before = fit(capture_gradients(lm, random_examples(9), (1, 2)), lm, rank="4", per_head=per_head, capability="odd")
    write_old(before, tmp_path / "old")
    again = load_capture(tmp_path / "old")
    now = subspace_of(again)
    assert now.provenance == before.provenance
    now.check_model(lm)
    for site in before.sites:
        assert torch.equal(now.basis[site], before.basis[site])
        assert torch.equal(now.singular_values[site], before.singular_values[site])
    assert again.examples == ()
    assert again.capability.name == "odd"
    if per_head:
        with pytest.raises(InputError, match="kept rank 4 alone"):
            subspace_of(again, "3")
        return
    assert all(torch.equal(subspace_of(again, "3").basis[site], before.basis[site][:, :3]) for site in before.sites)
    with pytest.raises(InputError, match=r"kept rank 4 alone \(4 directions\); capture again"):
        subspace_of(again, "5")


def test_an_old_folder_stands_on_the_shelf_and_knows_its_capability(tiny_lm: Any) -> None:
    lm, whole = tiny_lm("llama"), read_builtin("arithmetic")
    few = whole.split("calibration").limited(6)
    captured = capture_gradients(lm, encoded_examples(lm, whole, SETTINGS), (1, 2))
    write_old(fit(captured, lm, rank="4", capability=few.name, fingerprint=few.fingerprint), captures_folder() / "old")
    assert saved_captures() == ["old"]
    assert open_capture("old").capability == whole
    (captures_folder() / "old" / "subspace.json").write_text(
        (captures_folder() / "old" / "subspace.json").read_text().replace(few.fingerprint, "0" * 64)
    )
    assert open_capture("old").capability.examples == (), "edited since: only its name is known"


@pytest.mark.parametrize("damage", ["truncate", "no tensors", "no record", "bad record", "not orthonormal", "missing"])
def test_damaged_old_folders_are_refused(damage: str, tmp_path: Path, tiny_lm: Any) -> None:
    lm, folder = tiny_lm("llama"), tmp_path / "s"
    subspace = fit(capture_gradients(lm, random_examples(5), (2,)), lm, rank="2")
    if damage == "not orthonormal":
        subspace = dataclasses.replace(subspace, basis={site: 2 * u for site, u in subspace.basis.items()})
    write_old(subspace, folder)
    tensors, record = folder / "subspace.safetensors", folder / "subspace.json"
    if damage == "truncate":
        tensors.write_bytes(tensors.read_bytes()[:-40])
    elif damage == "no tensors":
        tensors.unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "bad record":
        record.write_text('{"sites": 3}')
    elif damage == "missing":
        folder = tmp_path / "other"
    with pytest.raises(InputError, match=str(folder)):
        load_capture(folder)


def test_lengths_of_tokens_are_kept_and_a_folder_without_them_opens(found: Analysis, home: Path) -> None:
    from safetensors.numpy import load_file
    from safetensors.numpy import save_file as save_arrays

    save_capture(found, home / "new")
    tensors = load_file(home / "new" / "analysis.safetensors")
    for site, own in load_capture(home / "new").sites.items():
        assert own.coordinates is not None
        kept = found.sites[site].coordinates
        assert kept is not None
        np.testing.assert_array_equal(own.coordinates.lengths, kept.lengths)  # type: ignore[arg-type]
    before = {name: array for name, array in tensors.items() if not name.endswith("/lengths")}
    assert len(before) == len(tensors) - len(found.sites)
    save_arrays(before, home / "new" / "analysis.safetensors")
    assert all(
        own.coordinates is not None and own.coordinates.lengths is None
        for own in load_capture(home / "new").sites.values()
    )
    cut = {name: array[:, 1:] if name.endswith("/lengths") else array for name, array in tensors.items()}
    save_arrays({name: np.ascontiguousarray(array) for name, array in cut.items()}, home / "new/analysis.safetensors")
    with pytest.raises(InputError, match="do not fit"):
        load_capture(home / "new")
