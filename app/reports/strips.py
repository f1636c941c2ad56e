"""Token strips of the app as blocks of a report. Pure."""

from typing import Any

from app.reports.blocks import ReportStrip, StripToken

_DEPTHS = 10
"""Steps of a colour: a report has no style of its own for each token."""


def strip_block(data: dict[str, Any], title: str, caption: str) -> ReportStrip:
    """What `token_strip` draws, from what it is given (`strip_data`, `ribbon`).

    At first it says the selected token's numbers; where the first one is selected, as none was chosen, those of the
    deepest.
    """
    tokens = [_token(token) for token in data["tokens"]]
    deepest = max(range(len(tokens)), key=lambda at: abs(data["tokens"][at]["shade"]), default=0)
    legend = data["legend"]
    low, high = legend["ticks"]
    notes = [
        *(["framed: the loss is taken there"] if legend["loss"] else []),
        *(["dashed: hidden"] if legend["aside"] else []),
    ]
    return ReportStrip(
        title,
        tokens,
        data["diverging"],
        (low, high, "; ".join([legend["unit"], "underlined: the largest", *notes])),
        caption,
        data["selected"] or deepest,
    )


def _token(token: dict[str, Any]) -> StripToken:
    inked = token["text"].rstrip("\n")
    marks = tuple(name for name in ("largest", "loss", "aside") if token[name])
    return StripToken(inked, round(_DEPTHS * token["shade"]), token["tip"], marks, token["text"][len(inked) :])
