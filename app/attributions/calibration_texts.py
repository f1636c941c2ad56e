"""Parts of Token attributions that need no model: direction stepper, energy shares, coordinates of calibration texts.

What needs the model is in `own_text.py`, `logit_lens.py` and `causal_check.py`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.attributions.token_tables import extreme_tokens
from app.jobs.models import shared
from app.ui import session
from app.ui.direction_names import names_of
from app.ui.session import Selection
from app.ui.stepping import step_buttons, stepping
from app.ui.tables import to_csv
from app.ui.tokens import Scale, strip_data, token_strip, visible
from app.ui.widgets import download, escaped, no_tokens
from spd_core.attribution.tables import scale_of
from spd_core.glossary import meaning
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import numerical_rank
from spd_core.text import opening, signed

if TYPE_CHECKING:
    from pandas import DataFrame
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.models.families import Site

THREE = "+.3g"
"""A signed number with three digits."""
LETTER = {"key": "k", "value": "v"}
_SYMBOLS = (
    "u is the direction, k or v the token's key or value, g the gradient of the loss with respect to it. v·u: how far "
    "the token points along u. g·u: how fast the loss grows as the token moves along u."
)


# --- the selection -------------------------------------------------------------------------------------------


def pick_direction(analysis: Analysis, at: Selection) -> "DeltaGenerator":
    """Layer, keys or values, and the direction stepper, in a row; all pages follow."""
    for key, value in (
        (session.PICK_LAYER, at.layer),
        (session.PICK_KIND, at.kind),
        (session.PICK_DIRECTION, at.direction + 1),
    ):
        st.session_state[key] = value
    state, last = st.session_state, analysis.known_directions - 1
    name = names_of(analysis).get((at.layer, at.kind, at.direction), "")
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    with row:
        st.selectbox(
            "Layer",
            analysis.layers,
            key=session.PICK_LAYER,
            width=110,
            on_change=lambda: session.select(layer=state[session.PICK_LAYER]),
        )
        st.segmented_control(
            "Keys or values",
            ("key", "value"),
            key=session.PICK_KIND,
            required=True,
            width="content",
            format_func=lambda kind: f"{kind}s",
            on_change=lambda: session.select(kind=state[session.PICK_KIND]),
        )
        st.number_input(
            f"Direction of {last + 1}{f': {escaped(opening(name, 26))}' if name else ''}",
            1,
            last + 1,
            key=session.PICK_DIRECTION,
            width=260 if name else 120,
            on_change=_typed,
        )
        step_buttons(at.direction, last + 1, lambda by: _step(analysis, by))
    return row


def _typed() -> None:
    if not stepping():
        session.select(direction=st.session_state[session.PICK_DIRECTION] - 1)


def _step(analysis: Analysis, by: int) -> None:
    """Go so many directions on from the one in hand by now: presses come faster than pages are drawn."""
    session.select(direction=session.selection(analysis).direction + by)


def direction_in_words(analysis: Analysis, site: "Site", direction: int) -> None:
    """The direction in one sentence, with its share of all energy."""
    values = analysis.sites[site].values
    share = values[direction] ** 2 / (values**2).sum()
    name = names_of(analysis).get((site.layer, site.kind, direction))
    called = f", {escaped(f'“{name}”')}," if name else ""
    st.markdown(
        f":small[**Direction {direction + 1}**{called} of {site.d_kv} holds **{share:.2%}** of the gradient's energy, "
        f"σ = {values[direction]:.3g} nats per unit.]",
        help=f"A direction is a unit vector in the {site.d_kv} numbers that layer {site.layer} keeps as {site.kind}s "
        f"of a token; all {site.d_kv} are orthogonal. {_order(analysis)}\n\n**Energy:** {meaning('energy')}\n\n"
        f"**σ:** {escaped(meaning('singular value'))}\n\n**Nats:** {meaning('nat')}",
    )


def _order(analysis: Analysis) -> str:
    """In which order the directions come, escaped."""
    made_of, capability = analysis.provenance.left_out, escaped(analysis.provenance.capability)
    if made_of is None:
        return f"The loss on {capability} reacts most to changes along direction 1, less along each later one."
    return (
        f"Along the first ones the loss on {escaped(made_of.capability)} varies most, measured against that on "
        f"{escaped(' and '.join(made_of.others))}."
    )


def is_kept(analysis: Analysis, at: Selection) -> bool:
    """Whether single tokens are known for the direction."""
    values = analysis.sites[analysis.site(at.layer, at.kind)].values
    return at.direction < min(analysis.kept_directions, numerical_rank(values, analysis.provenance.dtype))


def was_kept(analysis: Analysis, at: Selection) -> bool:
    """Whether single tokens are known for the direction; else says what to do."""
    kept = analysis.kept_directions
    values = analysis.sites[analysis.site(at.layer, at.kind)].values
    nonzero = numerical_rank(values, analysis.provenance.dtype)
    if at.direction >= nonzero:
        st.info(
            f"Direction {at.direction + 1} holds no energy: its σ is 0 up to rounding. More calibration examples "
            f"give more directions than these {nonzero}."
        )
        last = min(kept, nonzero) or nonzero
        st.button(f"Show direction {last}", on_click=session.select, kwargs={"direction": last - 1})
        return False
    if at.direction < kept:
        return True
    if not analysis.examples:
        st.info(
            "An older version made this capture and kept no text with it. Your own text, the logit lens and the causal "
            "check still work."
        )
        return False
    if not kept:
        st.info(f"{no_tokens(analysis)} Your own text, the logit lens and the causal check still work.")
        return False
    st.info(
        f"This capture keeps single tokens for directions 1 to {kept} only. Your own text, the logit lens and the "
        "causal check work for all."
    )
    st.button(f"Show direction {kept}", on_click=session.select, kwargs={"direction": kept - 1})
    return False


def pick_example(analysis: Analysis, at: Selection) -> None:
    """Which calibration text is drawn; nothing where none was kept."""
    if not analysis.examples:
        return
    st.session_state[session.PICK_EXAMPLE] = at.example + 1
    st.number_input(
        f"Calibration text of {len(analysis.examples)}",
        1,
        len(analysis.examples),
        key=session.PICK_EXAMPLE,
        width=200,
        on_change=lambda: session.select(example=st.session_state[session.PICK_EXAMPLE] - 1, token=0),
    )


def pick_aside(table: "DataFrame | None" = None) -> bool:
    """Whether outliers by position are left out of colours and lists; says what they hold where a table is given."""
    holds = "" if table is None else f": {table.share[table.aside].sum():.0%} of the energy"
    return st.toggle(
        f"Hide first and special tokens{holds}",
        True,
        key=session.ASIDE,
        bind="query-params",
        help="Models park attention on the first token (an attention sink), so its numbers are often outliers. Hidden, "
        "they have no colour and are in no list; sums always hold all tokens.",
    )


def special_ids(analysis: Analysis) -> frozenset[int]:
    """Ids of special tokens, when the tokenizer is at hand; without it they are known by having no text."""
    key = session.model_key(analysis)
    job = shared().prepared.get((key.name, key.revision))
    return frozenset(job.result.tokenizer.all_special_ids) if job is not None and job.result else frozenset()


# --- strips and tables ---------------------------------------------------------------------------------------


def token_tips(rows: "DataFrame", numbers: Callable[[Any], list[str]]) -> list[str]:
    """What each token says when it is hovered or focused: who it is, then its numbers with units."""
    said = []
    for row in rows.itertuples():
        part = "further part of " if row.continued else ""
        who = f"{part}“{visible(row.text) or '∅'}” · position {row.position} · token id {row.id}"
        said.append("\n".join([who, *numbers(row), *(["the loss is taken on it"] if row.supervised else [])]))
    return said


def token_numbers(at: Selection) -> Callable[[Any], list[str]]:
    """What is said of a token along the selected direction, a line each, from its row of the direction's table."""
    return lambda row: [
        f"energy share {100 * row.share:.3g}% of σ²",
        f"g·u = {signed(row.gradient, THREE)} nats per unit, {LETTER[at.kind]}·u = {signed(row.coordinate, THREE)}",
        f"gradient × activation {signed(row.baseline, THREE)} nats",
    ]


def _strip(rows: "DataFrame", column: str, scale: Scale, at: Selection, hide: bool, label: str) -> None:
    data = strip_data(
        rows, column, scale, token_tips(rows, token_numbers(at)), label=label, selected=at.token, hide=hide
    )
    token_strip(data, key=f"strip_{column}", on_pick=lambda token: session.select(token=token))


def chosen_token(rows: "DataFrame", position: int, numbers: Callable[[Any], list[str]]) -> None:
    """One line about the selected token: for touch screens, where nothing hovers."""
    said = token_tips(rows[rows.position == position], numbers)[0]
    line = escaped(" · ".join(part for part in said.split("\n") if part))
    st.markdown(f":small[Selected: {line}]", help=_SYMBOLS)


# --- energy shares -------------------------------------------------------------------------------------------


def energy_strips(table: "DataFrame", at: Selection, hide: bool) -> None:
    """Energy shares and the baseline on one text, beside each other."""
    rows, free = table[table.example == at.example], table[~table.aside] if hide else table
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(f"Energy share of direction {at.direction + 1}", anchor=False)
        scale = Scale(scale_of(free.share), "of σ²", percent=True, diverging=False)
        _strip(rows, "share", scale, at, hide, f"Energy shares of the tokens of calibration text {at.example + 1}")
    with right:
        st.subheader("Baseline: gradient × activation", anchor=False)
        scale = Scale(scale_of(free.baseline), "nats")
        _strip(rows, "baseline", scale, at, hide, f"Gradient × activation of calibration text {at.example + 1}")
    chosen_token(rows, at.token, token_numbers(at))
    st.markdown(
        "**How to read this:** the deeper a token's green, the more of this direction comes from the loss's gradient "
        "at that token. The baseline, the usual attribution, asks how much each token moves the loss in *any* "
        "direction; colours have the same scale on all texts."
    )


def direction_file_name(at: Selection) -> str:
    """What a file of a direction is called."""
    return f"layer-{at.layer}-{at.kind}-direction-{at.direction + 1}"


# --- coordinates ---------------------------------------------------------------------------------------------


def coordinate_strip(table: "DataFrame", at: Selection, hide: bool) -> None:
    """Signed coordinates of one calibration text, and the extremes over all of them."""
    rows = table[table.example == at.example]
    letter, free = LETTER[at.kind], table[~table.aside] if hide else table
    scale = Scale(scale_of(free.coordinate), f"{letter}·u, units of activation")
    _strip(rows, "coordinate", scale, at, hide, f"Coordinates of the tokens of calibration text {at.example + 1}")
    chosen_token(rows, at.token, token_numbers(at))
    how_to_read_coordinates(at)
    st.subheader("Over all calibration texts", anchor=False)
    extreme_tokens(
        table, hide, key=session.EXTREMES, pick=lambda example, token: session.select(example=example, token=token)
    )
    download("Every token as CSV", lambda: to_csv(table), f"tokens-{direction_file_name(at)}.csv")


def how_to_read_coordinates(at: Selection) -> None:
    """One sentence for both kinds of text."""
    st.markdown(
        f"**How to read this:** the number says how far a token's {at.kind} points along the direction u: orange along "
        "it, blue against it, uncoloured neither. The five largest are underlined, dotted below 0. The sign of u "
        "itself is arbitrary."
    )
