"""The method in five small pictures, drawn from the active capture and a recorded text. Pure but for the template."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.ui.tokens import visible
from app.ui.widgets import counted
from spd_core.subspace.verdict import SHARE, Steepness, steepness
from spd_core.templates import render
from spd_core.text import opening

if TYPE_CHECKING:
    from spd_core.generation.comparison import Comparison
    from spd_core.models.families import Site
    from spd_core.subspace.analysis import Analysis


@dataclass(frozen=True)
class MethodPicture:
    """One picture with its words; of the drawings one is there.

    Attributes:
        tokens: text, and whether the loss is taken on it.
        bars: height from 0 to 1, and whether it stands out.
        texts: who wrote, and what.
    """

    title: str
    says: str
    tokens: Sequence[tuple[str, bool]] = ()
    squares: int = 0
    bars: Sequence[tuple[float, bool]] = ()
    texts: Sequence[tuple[str, str]] = ()


_BARS = 32
_TOKENS = 9


def method_html(analysis: "Analysis", site: "Site", example: int, rank: int, text: "Comparison | None") -> str:
    """Tokens → keys and values → gradients → directions → projected text, as escaped HTML.

    Args:
        example: index of the calibration text whose tokens are drawn.
        rank: directions that a projection keeps.
        text: what raw and projected lanes have written; None where nothing is recorded.
    """
    record, steep = analysis.provenance, steepness(analysis.sites[site])
    few = steep.own
    reads = f"The model reads {counted(record.examples_used, 'example')} of {record.capability}; the answer's "
    steps = (
        MethodPicture(
            "Tokens",
            f"{reads}{counted(record.supervised_tokens, 'token')} carry the loss.",
            tokens=_tokens(analysis, example),
        ),
        MethodPicture(
            "Keys and values",
            f"For each of the {record.tokens:,} tokens, layer {site.layer} stores a key and a value: {site.d_kv} "
            "numbers each.",
            squares=24,
        ),
        MethodPicture(
            "Gradients",
            "Which nudge of these numbers would make the right answer likelier? A gradient for every token.",
            bars=_gradients(analysis, site, example),
        ),
        MethodPicture(
            "Directions",
            f"{few} of {site.d_kv} directions hold {SHARE:.0%} of the gradients' energy.{_beside(steep)}",
            bars=_spectrum(analysis.sites[site].values, few),
        ),
        MethodPicture(
            "Projected text",
            f"Keep {rank} of {site.d_kv} directions, drop the rest, and let the model write again.{_known(text)}",
            texts=_texts(text),
        ),
    )
    return render("method.html", steps=steps)


def _beside(steep: Steepness) -> str:
    """What shuffled answers give, and whether that leaves a sign of the capability: no more than Spectrum says."""
    if steep.shuffled is None:
        return ""
    sign = {True: ": fewer than luck gives", False: ": no sign of the capability", None: ""}[steep.beyond_luck]
    return f" With shuffled answers it is {steep.shuffled}{sign}."


def _known(text: "Comparison | None") -> str:
    answer = "" if text is None else text.answer or ""
    return f" The correct answer is {opening(answer, 20)}." if answer else ""


def _tokens(analysis: "Analysis", example: int) -> list[tuple[str, bool]]:
    """The last tokens of a text up to the end of its loss, and which carry it."""
    if not analysis.examples:
        return []
    encoded = analysis.examples[example]
    end = max(encoded.supervised) + 1
    spans = list(enumerate(encoded.offsets))[max(end - _TOKENS, 0) : end]
    return [(visible(encoded.text[a:b]).replace("\n", "") or "∅", at in encoded.supervised) for at, (a, b) in spans]


def _gradients(analysis: "Analysis", site: "Site", example: int) -> list[tuple[float, bool]]:
    """How large the gradient along direction 1 is at each token of a text, relative to the largest."""
    if not analysis.examples or not analysis.kept_directions:
        return []
    sizes = np.abs(analysis.sites[site].gradient(0))
    start = sum(len(one.ids) for one in analysis.examples[:example])
    encoded = analysis.examples[example]
    own = sizes[start : start + len(encoded.ids)][1:][:_BARS]  # without the first position, which would dwarf all
    return _relative(own, [at in encoded.supervised for at in range(1, len(own) + 1)])


def _spectrum(values: Any, few: int) -> list[tuple[float, bool]]:
    """The first singular values, and which of them hold most of the energy."""
    first = np.asarray(values[:_BARS], dtype=float)
    return _relative(first, [at < few for at in range(len(first))])


def _relative(sizes: Any, marked: Sequence[bool]) -> list[tuple[float, bool]]:
    largest = float(np.max(sizes, initial=0.0)) or 1.0
    return [(max(float(size) / largest, 0.02), on) for size, on in zip(sizes, marked, strict=True)]


def _texts(text: "Comparison | None") -> list[tuple[str, str]]:
    """Raw, projected and the control beside them, as they are recorded."""
    lanes = text.lanes[:3] if text is not None else ()
    return [(lane.label, opening(lane.text.strip(), 40)) for lane in lanes]
