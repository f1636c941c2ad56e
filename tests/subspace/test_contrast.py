"""Contrasts against hand calculations, whitening by an inverse square root, and rows whose directions are known."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spd_core.errors import CaptureError, InputError, Stopped
from spd_core.intervention.lanes import subspace_for
from spd_core.models.families import Site
from spd_core.progress import Progress
from spd_core.recipes.lanes import LaneSpec
from spd_core.subspace.analysis import Analysis, nulls_of
from spd_core.subspace.contrast import SHRINKAGE, contrast, contrast_directions
from spd_core.subspace.contrast_verdict import held_by
from spd_core.subspace.site_analysis import ContrastNumbers, Coordinates, SiteAnalysis
from spd_core.subspace.store import RECORDED, load_capture, save_capture
from spd_core.subspace.subspace import subspace_of
from spd_core.subspace.verdict import spectrum_verdict

D = 8
SITE = Site(7, "value", "layers.7.value", tuple(range(D)), 2, False)


def gram(draw: Any, rank: int = D, d: int = D) -> np.ndarray:
    rows = draw.normal(size=(40, rank)) @ draw.normal(size=(rank, d))
    return rows.T @ rows / np.trace(rows.T @ rows)


def captured(rows: np.ndarray, name: str, capability: str, seed: int = 0) -> Analysis:
    """A capture of given gradient rows [M, D], not centred, as numpy's SVD gives it; activations are drawn."""
    recorded = load_capture(RECORDED / "arithmetic")
    known = next(one for one in recorded.examples if len(one.ids) >= 20)
    examples = tuple(
        dataclasses.replace(known, id=f"{name}-{at}", ids=(seed, *known.ids[1:20]), offsets=known.offsets[:20],
                            supervised=(3,))
        for at in range(len(rows) // 20)
    )  # fmt: skip
    values, vectors = np.linalg.svd(rows)[1:]
    activations = np.random.default_rng(seed + 100).normal(size=rows.shape)
    tokens = Coordinates(
        (rows @ vectors.T).astype(np.float32),
        (activations @ vectors.T).astype(np.float32),
        np.einsum("td,td->t", rows, activations).astype(np.float32),
        rows[:, :2].astype(np.float32),
        np.array([0.6, 0.3]),
        vectors.T[:2].astype(np.float32),
    )
    found = SiteAnalysis(values, vectors.T.astype(np.float32), np.full(D, 1 / D), coordinates=tokens)
    update = {"center": False, "layers": [7], "capability": capability, "revision": "content:1"}
    record = recorded.provenance.model_copy(update=update)
    return Analysis(name, record, recorded.capability, {SITE: found}, examples)


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    """Of `sums` along e0 … e5, most of it along e0; of `text` along e0, e1 and e6: e2 … e5 are the sums' alone."""
    draw = np.random.default_rng(0)
    sums = draw.normal(size=(60, D)) * [4, 3, 3, 2, 2, 2, 0, 0]
    text = draw.normal(size=(80, D)) * [5, 4, 0, 0, 0, 0, 3, 0]
    return {"sums": sums, "text": text, "code": draw.normal(size=(60, D)) * [1, 0, 4, 0, 0, 0, 0, 1]}


@pytest.fixture(scope="module")
def captures(rows: dict[str, np.ndarray]) -> dict[str, Analysis]:
    return {name: captured(one, name, name, seed) for seed, (name, one) in enumerate(rows.items())}


def test_private_directions_come_first_and_shared_ones_last_by_hand() -> None:
    """Shares ½, ⅜, ⅛, 0 against 0.9, 0, 0, 0.1; s/d = ¼: λ = 0.5 / 1.15, 0.375 / 0.25, 0.125 / 0.25 and 0."""
    ratios, basis = contrast_directions(np.diag([4.0, 3.0, 1.0, 0.0]) / 8, np.diag([0.9, 0.0, 0.0, 0.1]), 1.0)
    np.testing.assert_allclose(ratios, [1.5, 0.5, 0.5 / 1.15, 0.0], atol=1e-12)
    np.testing.assert_allclose(basis, np.eye(4)[:, [1, 2, 0, 3]], atol=1e-12)


@pytest.mark.parametrize("shrinkage", [0.01, SHRINKAGE, 30.0])
def test_every_rank_spans_what_whitening_finds(shrinkage: float) -> None:
    """The slow way: B^(−1/2) from its own eigenvectors, then an ordinary eigenproblem."""
    draw = np.random.default_rng(1)
    own, theirs = gram(draw), gram(draw, rank=5)
    ratios, basis = contrast_directions(own, theirs, shrinkage)
    ridge = theirs + shrinkage / D * np.eye(D)
    scale, axes = np.linalg.eigh(ridge)
    whitening = (axes / np.sqrt(scale)) @ axes.T
    values, vectors = np.linalg.eigh(whitening @ own @ whitening)
    np.testing.assert_allclose(ratios, values[::-1], rtol=1e-9)
    np.testing.assert_allclose(basis.T @ basis, np.eye(D), atol=1e-12)
    for rank in range(1, D + 1):
        spanned = np.linalg.svd(whitening @ vectors[:, ::-1][:, :rank], full_matrices=False)[0]
        np.testing.assert_allclose(basis[:, :rank] @ basis[:, :rank].T, spanned @ spanned.T, atol=1e-7)


def test_beyond_the_capability_s_own_directions_none_is_called_its_own() -> None:
    draw = np.random.default_rng(2)
    own, theirs = gram(draw, rank=3), gram(draw)
    ratios, basis = contrast_directions(own, theirs)
    assert (ratios[:3] > 0).all()
    assert not ratios[3:].any()
    np.testing.assert_allclose(basis.T @ basis, np.eye(D), atol=1e-12)
    left = np.einsum("di,de,ei->i", basis, own, basis)[3:]
    assert (np.diff(left) < 1e-12).all(), "what is left comes in the order of its energy"


def test_what_a_contrast_says_of_directions_and_tokens_holds_for_the_rows(
    captures: dict[str, Analysis], rows: dict[str, np.ndarray]
) -> None:
    made = contrast(captures["sums"], [captures["text"]], name="made")
    found = made.sites[SITE]
    vectors = found.vectors.astype(np.float64)
    own, other = rows["sums"] @ vectors, rows["text"] @ vectors
    np.testing.assert_allclose(found.values, np.linalg.norm(own, axis=0), rtol=1e-5, atol=1e-5)
    assert found.contrast is not None
    assert found.coordinates is not None
    np.testing.assert_allclose(found.contrast.other, (other**2).sum(0) / (rows["text"] ** 2).sum(), atol=1e-6)
    np.testing.assert_allclose(found.coordinates.gradient, own, atol=1e-4)
    np.testing.assert_allclose(found.shares(0).sum(), 1, rtol=1e-5)
    activations = np.random.default_rng(100).normal(size=rows["sums"].shape)
    np.testing.assert_allclose(found.coordinates.activation, activations @ vectors, atol=1e-4)
    along = ((activations @ vectors) ** 2).sum(0)
    np.testing.assert_allclose(found.activation_energy, along / along.sum(), rtol=1e-5)
    plain = captures["sums"].sites[SITE].vectors.astype(np.float64)
    for at, name in enumerate(("sums", "text")):
        held = ((rows[name] @ plain) ** 2).sum(0) / (rows[name] ** 2).sum()
        np.testing.assert_allclose(found.contrast.plain[at], held, atol=1e-6)
    private = np.linalg.norm(vectors[2:6, :4], axis=0)
    assert (private > 0.9).all(), "e2 … e5 are the capability's alone"


def test_of_several_others_each_counts_alike(captures: dict[str, Analysis], rows: dict[str, np.ndarray]) -> None:
    """Whatever the size of their gradients: Gram matrices of trace 1 are summed up."""
    made = contrast(captures["sums"], [captures["text"], captures["code"]]).sites[SITE]
    own, *others = (one.T @ one / (one**2).sum() for one in rows.values())
    expected = contrast_directions(own, others[0] + others[1])[0]
    assert made.contrast is not None
    np.testing.assert_allclose(made.contrast.ratios, expected, rtol=1e-4, atol=1e-6)


def test_what_is_said_of_unseen_examples_is_measured_on_them(
    captures: dict[str, Analysis], rows: dict[str, np.ndarray]
) -> None:
    """The slow way, on the rows themselves: whiten one half, and add up the energy of the other half's rows."""
    made = contrast(captures["sums"], [captures["text"], captures["code"]]).sites[SITE]
    assert made.contrast is not None
    assert made.contrast.unseen is not None
    assert made.halves is not None
    halves = {}
    for name, own in rows.items():
        count = len(own) // 20
        first = np.isin(np.arange(len(own)) // 20, np.random.default_rng(0).permutation(count)[: count // 2])
        halves[name] = own[first], own[~first]
    expected = []
    for at in (0, 1):
        grams = {name: half[at].T @ half[at] / (half[at] ** 2).sum() for name, half in halves.items()}
        scale, axes = np.linalg.eigh((grams["text"] + grams["code"]) / 2 + SHRINKAGE / D * np.eye(D))
        whitening = (axes / np.sqrt(scale)) @ axes.T
        first = (whitening @ np.linalg.eigh(whitening @ grams["sums"] @ whitening)[1][:, ::-1])[:, :3]
        basis = np.linalg.svd(first, full_matrices=False)[0]
        projector = made.halves[at][:, :3] @ made.halves[at][:, :3].T
        np.testing.assert_allclose(projector, basis @ basis.T, atol=1e-4)
        held = {name: ((half[1 - at] @ basis) ** 2).sum() / (half[1 - at] ** 2).sum() for name, half in halves.items()}
        expected.append([held["sums"], (held["text"] + held["code"]) / 2])
    np.testing.assert_allclose(made.contrast.unseen[:, :3].sum(1), np.mean(expected, 0), atol=1e-4)


def test_a_gap_of_nothing_but_luck_does_not_last() -> None:
    """Rows of two captures from one distribution: the directions tell them apart, and on other halves they do not."""
    draw = np.random.default_rng(3)
    same = [captured(draw.normal(size=(40, D)), name, name, seed) for seed, name in enumerate(("sums", "text"))]
    made = contrast(same[0], same[1:])
    found = held_by(made.sites[SITE], 3)
    assert found.own > 1.4 * found.other
    assert found.unseen_own == pytest.approx(found.unseen_other, rel=0.3)


def test_a_contrast_is_a_capture_with_an_identity_of_its_own(captures: dict[str, Analysis], tmp_path: Path) -> None:
    made = contrast(captures["sums"], [captures["text"]], name="made")
    save_capture(made, tmp_path / "made")
    again = load_capture(tmp_path / "made")
    assert again.provenance == made.provenance
    np.testing.assert_array_equal(again.sites[SITE].contrast.unseen, made.sites[SITE].contrast.unseen)  # type: ignore[union-attr]
    assert again.provenance.capability == "sums without text"
    assert nulls_of(again) == (), "nulls have directions of their own"
    others = [
        captures["sums"],
        contrast(captures["sums"], [captures["code"]]),
        contrast(captures["text"], [captures["sums"]]),
    ]
    stiffer = contrast(captures["sums"], [captures["text"]], shrinkage=2.0)
    assert len({one.identity for one in (made, *others, stiffer)}) == 5
    assert made.identity == again.identity == contrast(captures["sums"], [captures["text"]]).identity
    assert (tmp_path / "made" / "analysis.json").read_text().count('"format": 3') == 1, "older versions refuse it"
    save_capture(captures["sums"], tmp_path / "plain")
    assert '"format": 2' in (tmp_path / "plain" / "analysis.json").read_text(), "and read plain captures as before"


def test_lanes_take_its_first_directions(captures: dict[str, Analysis]) -> None:
    made = contrast(captures["sums"], [captures["text"]])
    for spec in (LaneSpec(rank="3"), LaneSpec(rank="energy:0.3")):
        basis = subspace_for(spec, made).basis[SITE].numpy()
        np.testing.assert_allclose(basis, made.sites[SITE].vectors[:, : basis.shape[1]])
    share = np.cumsum(made.sites[SITE].values ** 2) / (made.sites[SITE].values ** 2).sum()
    assert basis.shape[1] == int(np.argmax(share >= 0.3)) + 1, "energy:x counts in the contrast's order"
    per_head = subspace_of(made, "2", per_head=True).basis[SITE].numpy()
    assert per_head.shape == (D, 4)
    np.testing.assert_allclose(per_head.T @ per_head, np.eye(4), atol=1e-6)


def test_tokens_that_were_not_kept_for_all_directions_are_not_guessed(captures: dict[str, Analysis]) -> None:
    made = contrast(captures["sums"].limited(D - 1), [captures["text"]])
    found = made.sites[SITE]
    assert found.coordinates is None
    assert found.reconstruction_error is None
    np.testing.assert_allclose(found.values, contrast(captures["sums"], [captures["text"]]).sites[SITE].values)


def test_it_can_be_stopped_between_sites(captures: dict[str, Analysis]) -> None:
    asked = iter((False, True))
    told: list[Progress] = []
    with pytest.raises(Stopped, match="nothing of it is kept"):
        contrast(two_sites(captures["sums"]), [two_sites(captures["text"])], tell=told.append, stop=lambda: next(asked))
    assert [at.done for at in told] == [0], "the first site alone was begun"


def two_sites(analysis: Analysis) -> Analysis:
    found = analysis.sites[SITE]
    return dataclasses.replace(analysis, sites={SITE: found, dataclasses.replace(SITE, layer=9): found})


def test_what_cannot_be_contrasted_is_said(captures: dict[str, Analysis]) -> None:
    sums, text = captures["sums"], captures["text"]
    made = contrast(sums, [text], name="made")

    def changed(**update: Any) -> Analysis:
        return dataclasses.replace(text, provenance=text.provenance.model_copy(update=update))

    elsewhere = dataclasses.replace(text, sites={dataclasses.replace(SITE, layer=3): text.sites[SITE]})
    silent = dataclasses.replace(text, sites={SITE: dataclasses.replace(text.sites[SITE], values=np.zeros(D))})
    few = dataclasses.replace(text.sites[SITE], vectors=text.sites[SITE].vectors[:, :3])
    for other, reason in (
        (changed(revision="content:2"), "capture both on one model"),
        (changed(center=True), "text is centred, and sums is not"),
        (sums, "the same capture"),
        (made, "made is a contrast itself"),
        (elsewhere, "no layer in common"),
        (dataclasses.replace(text, sites={SITE: few}), "older version"),
    ):
        with pytest.raises(InputError, match=reason):
            contrast(sums, [other])
    with pytest.raises(CaptureError, match="gradients of a capture are zero"):
        contrast(sums, [silent])
    with pytest.raises(InputError, match="name at least one other"):
        contrast(sums, [])
    with pytest.raises(InputError, match="shrinkage 0 is not above 0"):
        contrast(sums, [text], shrinkage=0)


# --- the sentence ----------------------------------------------------------------------------------------------------


def said(
    own: list[float], other: list[float], plain: list[list[float]], rank: int, unseen: list[list[float]] | None = None
) -> str:
    """The sentence for shares of energy along each of D directions."""
    sums = captured(np.random.default_rng(0).normal(size=(40, D)), "sums", "sums")
    text = captured(np.random.default_rng(1).normal(size=(40, D)), "text", "text", 1)
    made = contrast(sums, [text])
    ratios = np.ones(D)
    numbers = ContrastNumbers(ratios, np.array(other), np.array(plain), None if unseen is None else np.array(unseen))
    found = dataclasses.replace(made.sites[SITE], values=np.sqrt(own), contrast=numbers)
    return spectrum_verdict(dataclasses.replace(made, sites={SITE: found}), 7, "value", rank)


EVEN = [0.125] * D
OWN, OTHER = [0.4, 0.21, 0.09, 0.06, 0.06, 0.06, 0.06, 0.06], [0.05, 0.04, 0.11, 0.2, 0.2, 0.2, 0.1, 0.1]
PLAIN = [[0.6, 0.3, 0.05, 0.01, 0.01, 0.01, 0.01, 0.01], [0.5, 0.21, 0.09, 0.04, 0.04, 0.04, 0.04, 0.04]]


def test_both_shares_are_said_beside_the_plain_subspace() -> None:
    assert said(OWN, OTHER, PLAIN, 2) == (
        "Layer 7 values: 2 directions hold 61% of the energy of sums and 9.0% of that of text. The plain subspace's "
        "2 hold 90% and 71%. A random subspace of this rank holds about 25% of either. The directions were chosen "
        "by these examples; on others the gap may be smaller."
    )
    assert "1 direction holds 40% of the energy of sums and 5.0% of that of text. The plain subspace's 1 holds 60%" in (
        said(OWN, OTHER, PLAIN, 1)
    )


def test_examples_that_did_not_choose_the_directions_have_the_last_word() -> None:
    assert said(OWN, OTHER, PLAIN, 2, [[0.4, 0.1], [0.1, 0.05]]).endswith(
        "of either. Chosen by one half of the examples, as many hold 50% and 15% of the other half."
    )
    no_gap = "no gap, so what sets sums apart here is the luck of the examples."
    assert said(OWN, OTHER, PLAIN, 2, [[0.2, 0.1], [0.2, 0.15]]).endswith(f"30% and 35% of the other half: {no_gap}")
    assert said(OWN, OTHER, PLAIN, 2, [[0.1, 0.1], [0.0, 0.1]]).endswith(f"20% and 10% of the other half: {no_gap}")


def test_what_chance_would_hold_is_no_contrast() -> None:
    assert "about 25% of either: of sums no less than these; choose a lower rank." in said(EVEN, OTHER, PLAIN, 2)
    assert "about 25% of either: these do not keep text out." in said(OWN, EVEN, PLAIN, 2)
    assert said(OWN, OTHER, PLAIN, D).endswith("nothing is told apart: choose a lower rank.")


def sites_said(*sites: tuple[list[float], list[float], list[list[float]] | None], rank: int = 2) -> str:
    """The sentence on a contrast of several sites, each with its shares of both and of unseen examples."""
    sums = captured(np.random.default_rng(0).normal(size=(40, D)), "sums", "sums")
    made = contrast(sums, [captured(np.random.default_rng(1).normal(size=(40, D)), "text", "text", 1)])
    found = {}
    for at, (own, other, unseen) in enumerate(sites):
        held = ContrastNumbers(
            np.ones(D), np.array(other), np.array(PLAIN), None if unseen is None else np.array(unseen)
        )
        site = dataclasses.replace(SITE, layer=7 + at)
        found[site] = dataclasses.replace(made.sites[SITE], values=np.sqrt(own), contrast=held)
    return spectrum_verdict(dataclasses.replace(made, sites=found), 7, "value", rank)


def test_a_contrast_says_at_how_many_sites_it_is_better_than_chance() -> None:
    """Two of eight directions: a random subspace holds a quarter of either; no site but the first is selected."""
    good, same, mixed = (OWN, OTHER, None), (EVEN, OTHER, None), (OWN, EVEN, None)
    lucky = (OWN, OTHER, [[0.2, 0.1], [0.2, 0.15]])  # the examples that did not choose have no gap
    lasts = (OWN, OTHER, [[0.3, 0.1], [0.05, 0.05]])
    assert (
        "text. Told apart better than by chance, on the examples that chose them: none of 2 sites. The plain"
        in sites_said(same, mixed)
    )
    assert "2 of 2 sites." in sites_said(good, lasts)
    unseen = "also on the half of the examples that did not choose: 1 of 2 sites (layer 7 value)."
    assert unseen in sites_said(lasts, lucky)
    assert "1 of 2 sites (layer 7 value)." in sites_said(good, lucky)
    assert "3 of 4 sites (not layer 9 value)." in sites_said(good, good, same, lasts)
    assert "2 of 4 sites (layer 7 value and layer 10 value)." in sites_said(good, same, lucky, good)
    assert "3 of 6 sites." in sites_said(good, good, good, same, mixed, lucky)
    assert "Told apart" not in sites_said(good, same, rank=D), "all directions are kept: nothing is left out"
    assert "Told apart" not in sites_said(good), "one site is what the first sentence says"
