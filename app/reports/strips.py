"""Token strips of the app as blocks of a report. Pure."""

from typing import Any

from app.reports.blocks import ReportStrip, StripToken

_DEPTHS = 10
"""Steps of a colour: a report has no style of its own for each token."""
MOST_TOKENS = 600
"""Drawn of one text: each carries all that is known of it."""


def strip_block(data: dict[str, Any], title: str, caption: str) -> ReportStrip:
    """What `token_strip` draws, from what it is given (`strip_data`, `ribbon`); of a long text a part around the
    selected token.

    At first it says the selected token's numbers; where the first one is selected, as none was chosen, those of the
    deepest.
    """
    whole, selected = data["tokens"], data["selected"] or 0
    start = max(min(selected - MOST_TOKENS // 2, len(whole) - MOST_TOKENS), 0)
    drawn = whole[start : start + MOST_TOKENS]
    part = f", tokens {start + 1} to {start + len(drawn)} of {len(whole)}" if len(drawn) < len(whole) else ""
    deepest = max(range(len(drawn)), key=lambda at: abs(drawn[at]["shade"]), default=0)
    legend = data["legend"]
    low, high = legend["ticks"]
    notes = ["framed: the loss is taken there"] * legend["loss"] + ["dashed: hidden"] * legend["aside"]
    notes += ["framed: a chunk"] * bool(legend.get("chunks"))
    return ReportStrip(
        title + part,
        [_token(token) for token in drawn],
        data["diverging"],
        (low, high, "; ".join([legend["unit"], "underlined: the largest", *notes])),
        caption,
        selected - start or deepest,
    )


def _token(token: dict[str, Any]) -> StripToken:
    inked = token["text"].rstrip("\n")
    marks = [name for name in ("largest", "loss", "aside") if token[name]]
    if token.get("chunk"):
        marks += ["chunk", *token["edge"].split()]
    return StripToken(inked, round(_DEPTHS * token["shade"]), token["tip"], tuple(marks), token["text"][len(inked) :])
