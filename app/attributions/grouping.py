"""What the tokens of a capture are coloured by on Geometry: groups of them, each with a name. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from app.attributions.charts import ROLE_COLOURS
from app.ui.figures import KEY, LANE_COLOURS, MUTED, TEXT_COLOURS, VALUE
from app.ui.point_cloud import SHAPES, STEPS, Grouped, Look
from spd_core.attribution.geometry import CLASSES, NUMBER, SIGN, SPACE, SPECIAL, WORD, token_class
from spd_core.attribution.tables import ASIDE, LOSS, OTHER, ROLES
from spd_core.subspace.spectrum import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

    from spd_core.subspace.analysis import Analysis

CLASS, ROLE, TEXT, POSITION, RIGHT = "token class", "loss tokens", "text", "position", "right or wrong"
COLOURS = (CLASS, ROLE, TEXT, POSITION, RIGHT)
IN_PLURAL = {CLASS: "Token classes", ROLE: "Loss tokens and others", RIGHT: "Right and wrong texts"}
"""How groups are called that are compared with shuffled ones; texts and positions are no groups to be compared."""
_RIGHT, _PARTLY, _WRONG = "right", "partly right", "wrong"
_TEXTS = 5
OTHERS, UNKNOWN = "other texts", "not scored"
_INK, _, _, _GREEN, _PURPLE, _OLIVE = LANE_COLOURS
_LOOKS: dict[str, Look] = {
    NUMBER: (_GREEN, "circle"), WORD: (_PURPLE, "diamond"), SIGN: (_OLIVE, "triangle"),
    SPACE: (TEXT_COLOURS[0], "square"), SPECIAL: (_INK, "plus"),
    LOSS: (ROLE_COLOURS[LOSS], "diamond"), OTHER: (ROLE_COLOURS[OTHER], "circle"),
    ASIDE: (ROLE_COLOURS[ASIDE], "cross"),
    _RIGHT: (KEY, "circle"), _PARTLY: (_PURPLE, "square"), _WRONG: (VALUE, "diamond"), UNKNOWN: (MUTED, "plus"),
    OTHERS: (MUTED, "cross"),
}  # fmt: skip
"""One look, one meaning: loss tokens and context as in all figures, right and wrong as on all pages, and classes of
tokens in other colours than these."""
_ONE_BY_ONE: tuple[Look, ...] = tuple(zip(TEXT_COLOURS, SHAPES, strict=False))
"""Of texts, which have no look of their own."""


def grouped(
    by: str,
    tokens: "DataFrame",
    analysis: "Analysis",
    lengths: Floats,
    selected: int,
    right: Mapping[str, float] | None = None,
) -> Grouped:
    """The group of every token.

    Args:
        by: one of `COLOURS`.
        tokens: of `tables.tokens_of`, all texts.
        lengths: [M] of every token: the longest texts by it have colours of their own.
        selected: the text that has one in any case.
        right: share of the loss tokens that the model gets right, by the text's id; None where it was not asked.
    """
    if by == CLASS:
        classes = [token_class(text, special) for text, special in zip(tokens.text, tokens.special, strict=True)]
        return _named(classes, CLASSES[:-1] + ((SPECIAL,) if SPECIAL in classes else ()))
    if by == ROLE:
        return _named(list(tokens.role), ROLES)
    if by == POSITION:
        return _by_position(tokens)
    names = [example.id for example in analysis.examples]
    if by == TEXT:
        chosen = _largest(tokens.example.to_numpy(), lengths, selected)
        of = [f"text {at + 1}" if at in chosen else OTHERS for at in tokens.example]
        return _named(of, (*(f"text {at + 1}" for at in chosen), OTHERS))
    rated = {name: _PARTLY if 0 < share < 1 else _RIGHT if share else _WRONG for name, share in (right or {}).items()}
    return _named([rated.get(names[at], UNKNOWN) for at in tokens.example], (_RIGHT, _PARTLY, _WRONG, UNKNOWN))


def _named(of: list[str], names: tuple[str, ...]) -> Grouped:
    """Groups in the order of their names; those without a token are left out."""
    there = tuple(name for name in names if name in set(of))
    number = {name: at for at, name in enumerate(there)}
    looks = tuple(_LOOKS.get(name, _ONE_BY_ONE[at % len(_ONE_BY_ONE)]) for at, name in enumerate(there))
    return Grouped(there, np.array([number[name] for name in of], np.int64), looks)


def _by_position(tokens: "DataFrame") -> Grouped:
    last = max(int(tokens.position.max()), 1)
    steps = len(STEPS)
    of = np.minimum(tokens.position.to_numpy(np.int64) * steps // (last + 1), steps - 1)
    return Grouped(tuple(f"tenth {at + 1}" for at in range(steps)), of, STEPS, ("position 0", str(last)))


def _largest(example: "np.ndarray", lengths: Floats, selected: int) -> list[int]:
    """The selected text, then those with the most squared length."""
    order = [int(at) for at in np.argsort(-np.bincount(example, lengths**2), kind="stable") if at != selected]
    return [selected, *order[: _TEXTS - 1]]
