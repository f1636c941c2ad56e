"""What each step of the lesson says of its picture: one sentence, from the numbers alone. Pure: knows no page."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from app.lesson.numbers import Arrows, TokenHeld, energy_along
from app.ui.tokens import visible
from app.ui.widgets import counted
from spd_core.evaluation.report import shown_change, shown_interval
from spd_core.text import opening

if TYPE_CHECKING:
    from spd_core.attribution.geometry import Points
    from spd_core.data.spans import Encoded
    from spd_core.evaluation.claims import Claim
    from spd_core.generation.comparison import Comparison
    from spd_core.subspace.analysis import Provenance
    from spd_core.subspace.spectrum import Floats


def quoted_token(encoded: "Encoded", token: int) -> str:
    """A token as it is quoted: white space visible, in one line."""
    start, end = encoded.offsets[token]
    return visible(encoded.text[start:end]).replace("\n", "") or "∅"


def say_loss(encoded: "Encoded", record: "Provenance") -> str:
    """Step 1."""
    named = " ".join(f"“{quoted_token(encoded, token)}”" for token in encoded.supervised[:6])
    more = len(encoded.supervised) - 6
    few = f"{len(encoded.supervised)} {'decides' if len(encoded.supervised) == 1 else 'decide'}"
    return (
        f"Of the {len(encoded.ids)} tokens of this text, {few} whether the answer is right: "
        f"{named}{f' and {more} more' if more > 0 else ''}. "
        f"Over {counted(record.examples_used, 'text')}, the loss is taken on {record.supervised_tokens:,} of "
        f"{record.tokens:,} tokens."
    )


def say_held(name: str, kind: str, layer: int, width: int, held: TokenHeld) -> str:
    """Step 2."""
    share = "" if held.share is None else f" They hold {held.share:.0%} of its squared length."
    kept = len(held.along)
    here = f"Here are {kept} of them, along the first {kept} directions.{share}"
    if kept == width:
        here = "Here they are, along all directions."
    return f"For the token “{name}”, layer {layer} keeps a {kind} of {width} numbers. {here}"


def say_arrows(found: "Arrows", encoded: "Encoded", token: int) -> str:
    """Step 3."""
    name, longest = quoted_token(encoded, token), int(found.tokens[int(found.energy.argmax())])
    most = f"“{quoted_token(encoded, longest)}”, at position {longest}, has the most: {found.share(longest):.0%}."
    among = f"Of the {counted(len(found.tokens), 'token')} drawn,"
    if token not in found.tokens:
        return f"“{name}” is at the first position, which is left out. {among} {most}"
    role = "a loss token" if token in encoded.supervised else "no loss token"
    told = f"“{name}” is {role}, and its gradient holds {found.share(token):.0%} of the energy."
    return f"{told} {among} {'none has a longer one.' if token == longest else most}"


def say_line(values: "Floats", degrees: int) -> str:
    """Step 4."""
    here, best = energy_along(values, degrees), energy_along(values, 0)
    if degrees in (0, 180):
        return f"Found: this is direction 1. It holds {here:.1%} of the energy, and no other line holds more."
    return f"Along this line lies {here:.1%} of the energy of all gradients. The best line holds {best:.1%}."


def say_moved(points: "Points", strength: float, kind: str) -> str:
    """Step 5."""
    before, after = (float(np.mean(points.at(alpha)[:, 1])) for alpha in (0.0, strength))
    if strength == 0:
        outside = f"a part {before:.2f} long lies outside the subspace of rank {points.rank}"
        return f"At strength 0 nothing moves: of the average {kind}, {outside}."
    return (
        f"At strength {strength:g}, what lies outside the subspace of rank {points.rank} shrinks from "
        f"{before:.2f} to {after:.2f} for the average {kind}. What lies inside stays."
    )


def say_texts(one: "Comparison", differ: Mapping[str, int], among: int) -> str:
    """Step 6."""
    answer = f"The right answer is {opening(one.answer, 40)}. " if one.answer else ""
    rest = ", and ".join(f"{label} in {count}" for label, count in differ.items())
    return f"{answer}Of {counted(among, 'recorded prompt')}, the text differs from {one.lanes[0].label} with {rest}."


def say_claim(claim: "Claim") -> str:
    """Step 7: never more than the claim's own headline."""
    low, difference = claim.lower_is_better, claim.difference
    word = {"helps": "helps", "hurts": "hurts", "not shown": "is not shown to help or to hurt"}[claim.headline]
    return (
        f"{claim.subject} {word} on {claim.set_name}: {shown_change(difference.effect, low)} against {claim.against}. "
        f"95% interval {shown_interval(difference.interval, low, signed=True)}, n = {difference.n}."
    )
