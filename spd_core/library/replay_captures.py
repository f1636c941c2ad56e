"""Captures anew what a capture recorded, and says by how much its numbers may be off and why."""

import dataclasses
import math
from collections.abc import Iterator
from typing import cast

import numpy as np

from spd_core.data.capability import Capability, Style
from spd_core.errors import InputError, SpdError
from spd_core.library.replay_place import Replaying, here_and_then
from spd_core.library.replay_report import (
    ReplayRow,
    ReplayVerdict,
    Surrounding,
    exact_row,
    in_figures,
    not_replayed,
    number_row,
    relative_rounding,
    why_rounding,
)
from spd_core.models.families import Site
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.contrast import contrast
from spd_core.subspace.pipeline import capture
from spd_core.subspace.site_analysis import SiteAnalysis
from spd_core.subspace.spectrum import EPS, Floats, choose_rank, principal_angles


def replay_capture(thing: str, recorded: Analysis, work: Replaying) -> tuple[list[ReplayRow], tuple[Surrounding, ...]]:
    """Rows of a capture: what was counted, the mean loss, and of each site the spectrum and the leading subspace.

    A contrast is made again of the captures that it was made of; they are replayed by themselves.
    """
    try:
        if recorded.provenance.left_out is not None:
            return _again_of_captures(thing, recorded, work), ()
        return _captured_again(thing, recorded, work)
    except SpdError as error:
        return [not_replayed(thing, "all numbers", str(error))], ()


def _captured_again(thing: str, recorded: Analysis, work: Replaying) -> tuple[list[ReplayRow], tuple[Surrounding, ...]]:
    record = recorded.provenance
    if not recorded.examples:
        raise InputError("a capture of an older version, which kept no example: capture again, and that one replays")
    lm = work.language_model(record.model, record.revision, record.dtype)
    again = capture(
        lm,
        _captured(recorded),
        recorded.settings,
        cast(Style, record.prompt_style),
        name=recorded.name,
        tell=work.tell,
        stop=work.stop,
        rows_limit=0,  # no band, no points: the spectrum alone is compared
    )
    surroundings = here_and_then(lm, record.device, record.dtype, record.versions)
    size = record.dtype, lm.card.layers, lm.card.hidden
    tolerance, reason = relative_rounding(*size), why_rounding(*size)
    now = again.provenance
    rows = [
        exact_row(thing, "examples", record.examples_used, now.examples_used),
        exact_row(thing, "tokens", record.tokens, now.tokens),
        exact_row(thing, "tokens with a loss", record.supervised_tokens, now.supervised_tokens),
        number_row(
            thing, "mean loss, nats", record.mean_loss, now.mean_loss, tolerance * abs(record.mean_loss), reason
        ),
    ]
    return [*rows, *_sites(thing, recorded, again, tolerance, reason)], surroundings


def _captured(recorded: Analysis) -> Capability:
    """The examples that were captured, and those that were skipped: a capture may have been stopped."""
    known = {example.id for example in recorded.examples} | set(recorded.provenance.skipped)
    kept = tuple(one for one in recorded.capability.split("calibration").examples if one.id in known)
    return dataclasses.replace(recorded.capability, examples=kept)


def _again_of_captures(thing: str, recorded: Analysis, work: Replaying) -> list[ReplayRow]:
    made_of = recorded.provenance.left_out
    assert made_of is not None
    own, *others = (work.capture(name) for name in (made_of.capture, *made_of.captures))
    again = contrast(own, others, name=recorded.name, shrinkage=made_of.shrinkage, tell=work.tell, stop=work.stop)
    reason = f"float32 directions, as captures keep them: {in_figures(EPS['float32'])} an entry × √d_kv"
    tolerance = EPS["float32"] * math.sqrt(recorded.d_kv)
    same = exact_row(
        thing,
        "captures that it is made of",
        ", ".join(one[:12] for one in sorted(made_of.identities)),
        ", ".join(one[:12] for one in sorted(other.identity for other in others)),
        "their identities: by these a capture is known again",
    )
    return [same, *_sites(thing, recorded, again, tolerance, reason)]


# --- sites -------------------------------------------------------------------------------------------------------


def _sites(thing: str, recorded: Analysis, again: Analysis, tolerance: float, reason: str) -> Iterator[ReplayRow]:
    for site, then in recorded.sites.items():
        now = again.sites.get(site)
        if now is None:
            yield not_replayed(thing, site.label, "stopped before this site was computed")
            continue
        error = tolerance * float(np.sqrt((then.values**2).sum()))  # bounds ‖E‖₂ of the rows' error E
        yield _spectrum(thing, site, then.values, now.values, error, reason)
        if recorded.provenance.left_out is None:  # a contrast's directions come in another order than their energy
            yield from _leading(thing, site, recorded, then, now, error)


def _spectrum(thing: str, site: Site, then: Floats, now: Floats, error: float, reason: str) -> ReplayRow:
    """The singular value that is off most, of all."""
    at = int(np.abs(then - now).argmax())
    said = f"{reason}, of ‖G‖: no singular value moves by more than the rows do (Weyl)"
    return number_row(thing, f"{site.label}: {len(then)} σ, worst σ{at + 1}", then[at], now[at], error, said)


def _leading(
    thing: str, site: Site, recorded: Analysis, then: SiteAnalysis, now: SiteAnalysis, error: float
) -> Iterator[ReplayRow]:
    """The largest principal angle between the leading subspaces, at the capture's rank."""
    rank, _ = choose_rank(recorded.settings.rank, then.values, cap=True, dtype=recorded.provenance.dtype)
    rank = min(rank, then.vectors.shape[1])
    what = f"{site.label}: angle of rank {rank}"
    if rank == site.d_kv:
        yield not_replayed(thing, what, "all directions are kept: any two such subspaces are the same")
        return
    angle = math.degrees(principal_angles(then.vectors[:, :rank], now.vectors[:, :rank]).max())
    gap = float(then.values[rank - 1] - now.values[rank])
    stored = EPS["float32"] * math.sqrt(site.d_kv)  # directions are kept in float32
    sine = error / gap + stored if gap > 0 else math.inf
    if sine >= 1:
        said = f"σ{rank} and σ{rank + 1} are nearer to each other than rounding may move them: any angle would do"
        yield ReplayRow(
            thing, what, "0°", f"{in_figures(angle, 3)}°", f"{in_figures(angle)}°", "", "not determined", said
        )
        return
    said = f"rounding ÷ the gap between σ{rank} and σ{rank + 1} bounds the sine of the angle (Wedin)"
    bound = math.degrees(math.asin(sine))
    verdict: ReplayVerdict = "matches" if angle <= bound else "differs"
    yield ReplayRow(
        thing, what, "0°", f"{in_figures(angle, 3)}°", f"{in_figures(angle)}°", f"{in_figures(bound)}°", verdict, said
    )
