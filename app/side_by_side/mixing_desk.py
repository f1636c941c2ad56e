"""The mixing desk: a lane in which each leading direction of a site has a gain. What its faders mean: `faders.py`."""

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

import streamlit as st

from app.side_by_side import faders
from app.side_by_side.faders import FADERS, OTHERS, SitePlace, Strip
from app.ui import session
from app.ui.direction_names import names_of
from app.ui.links import write_linked
from app.ui.widgets import caption, counted, escaped, failure
from spd_core.errors import InputError
from spd_core.models.families import BUILTIN, Kind
from spd_core.models.identity import pinned
from spd_core.recipes.gains import SiteGains, gains_in_words, gains_text, parse_gains
from spd_core.recipes.lanes import LaneSpec
from spd_core.subspace.spectrum import numerical_rank

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis

_LOUDEST, _STEP = 4.0, 0.25
_MUTE, _SOLO = "remove", "keep only"


def pick_mix(analysis: "Analysis", rank: int) -> tuple[LaneSpec, ...]:
    """The mixed lane, and its control where that is asked for; none while every gain is 1.

    Args:
        rank: of the projected lane; that of the mixed one where its gains need no more.
    """
    strips = _strips(analysis)
    with st.expander(
        "Mixing desk: a gain for each direction",
        icon=":material/instant_mix:",
        key=session.DESK_OPEN,
        on_change="rerun",
    ) as desk:
        if desk.open:
            _draw(analysis, strips)
    mix = faders.mix_of(strips)
    control = bool(st.session_state.get(session.MIX_CONTROL))
    write_linked({session.MIX: gains_text(mix), session.MIX_CONTROL: "random" if control and mix else ""})
    return mixed_lanes(mix, rank, control)


def say_lost_mix() -> None:
    """Why the mix of a link, or of another capture, is not there, until another one is made."""
    if trouble := st.session_state.get(session.MIX_TROUBLE):
        failure("This mix cannot be used:", trouble)


def mixed_lanes(mix: tuple[SiteGains, ...], rank: int, control: bool) -> tuple[LaneSpec, ...]:
    """The lane of a mix, and the same gains on random directions; nothing of an empty one."""
    if not mix:
        return ()
    lane = LaneSpec(rank=str(max(rank, *(own.highest for own in mix))), strength=0.0, gains=mix)
    return (lane, lane.model_copy(update={"of": "random"})) if control else (lane,)


def fold_command(analysis: "Analysis", mix: tuple[SiteGains, ...]) -> str:
    """What writes the mixed model as an ordinary checkpoint."""
    record, highest = analysis.provenance, max(own.highest for own in mix)
    model = [] if record.model == BUILTIN else ["--model", record.model]
    revision = pinned(record.model, record.revision)
    gains = ["--subspace", analysis.name, "--rank", str(max(highest, 1)), "--gains", gains_text(mix)]
    base = [*model, *(["--revision", revision] if revision else [])]
    return shlex.join(["python", "-m", "spd_core", "export", *base, *gains, "--out", "mixed"])


# --- what the desk holds -----------------------------------------------------------------------------------------


def _strips(analysis: "Analysis") -> dict[SitePlace, Strip]:
    """The strips of all sites that were touched: those of this session, of a link at first, or of what was opened."""
    state = st.session_state
    if session.MIX_READ not in state:
        state[session.MIX_READ] = True
        if session.MIX in st.query_params:
            state[session.MIX] = st.query_params[session.MIX]
            state[session.MIX_CONTROL] = session.MIX_CONTROL in st.query_params
            state.pop(session.MIX_TROUBLE, None)
    strips = cast("dict[SitePlace, Strip]", state.get(session.DESK, {}))
    try:
        mix = _known(parse_gains(state.get(session.MIX, "")), analysis)
    except InputError as error:
        state[session.MIX_TROUBLE] = str(error)
        mix, strips = (), {}
    if gains_text(mix) != gains_text(faders.mix_of(strips)):  # a link, a result or another page has said another one
        strips = faders.strips_of(mix, {(own.layer, own.kind): _nonzero(analysis, own.layer, own.kind) for own in mix})
    state[session.MIX], state[session.DESK] = gains_text(faders.mix_of(strips)), strips
    return strips


def _known(mix: tuple[SiteGains, ...], analysis: "Analysis") -> tuple[SiteGains, ...]:
    """The same mix; raises `InputError` where the capture has no such site or direction, or a site is named twice."""
    for own in mix:
        if own.layer not in analysis.layers:
            layers = ", ".join(map(str, analysis.layers))
            raise InputError(f"{own.where} are not in this capture, which has layers {layers}; mix one of these")
        nonzero = _nonzero(analysis, own.layer, own.kind)
        if own.highest > nonzero:
            raise InputError(f"{own.where} have {counted(nonzero, 'direction')}, and no direction {own.highest}")
    if len({own.where for own in mix}) < len(mix):
        raise InputError("a site is named twice; name it once")
    return mix


def _nonzero(analysis: "Analysis", layer: int, kind: Kind) -> int:
    """How many directions of a site hold energy."""
    return numerical_rank(analysis.sites[analysis.site(layer, kind)].values, analysis.provenance.dtype)


def _put(place: SitePlace, strip: Strip) -> None:
    """Have this strip at a site from now on."""
    state = st.session_state
    state[session.DESK] = {**state.get(session.DESK, {}), place: strip}
    state[session.MIX] = gains_text(faders.mix_of(state[session.DESK]))
    state.pop(session.MIX_TROUBLE, None)


def _clear() -> None:
    st.session_state.update({session.DESK: {}, session.MIX: ""})


# --- widgets -----------------------------------------------------------------------------------------------------


def _draw(analysis: "Analysis", strips: Mapping[SitePlace, Strip]) -> None:
    """Site, faders, presets, and the control."""
    place = _pick_site(analysis, strips)
    nonzero = _nonzero(analysis, *place)
    strip = strips.get(place) or faders.strip_of(None, nonzero)
    _presets(analysis, place, strip, nonzero)
    values = analysis.sites[analysis.site(*place)].values
    shares = values**2 / (values**2).sum()
    names = names_of(analysis)
    channels = (*strip.directions, OTHERS)
    half = (len(channels) + 1) // 2
    for column, own in zip(st.columns(2, gap="medium"), (channels[:half], channels[half:]), strict=True):
        with column:
            for number in own:
                if number == OTHERS:
                    _channel(place, strip, OTHERS, "All other directions", "**all others**")
                    continue
                called = names.get((*place, number - 1), "")
                _channel(place, strip, number, f"Direction {number}", _short(number, shares[number - 1], called))
    _say_mix(strips)
    state = st.session_state
    state[session.MIX_CONTROL_SHOWN] = bool(state.get(session.MIX_CONTROL))
    st.toggle(
        "Beside it, the same gains on random directions",
        key=session.MIX_CONTROL_SHOWN,
        on_change=lambda: state.update({session.MIX_CONTROL: state[session.MIX_CONTROL_SHOWN]}),
        help="A control: what these gains do to any directions is not due to the capability's.",
    )
    if mix := faders.mix_of(strips):
        caption("The mixed model as an ordinary checkpoint:")
        st.code(fold_command(analysis, mix), language="bash", wrap_lines=True)


def _pick_site(analysis: "Analysis", strips: Mapping[SitePlace, Strip]) -> SitePlace:
    """The site whose faders are shown: one that is mixed, else the selected one, until another is chosen."""
    state, at = st.session_state, session.selection(analysis)
    mixed = [place for place, strip in sorted(strips.items()) if strip.gains(place).changes]
    layer, kind = state.get(session.DESK_SITE) or (mixed[0] if mixed else (at.layer, at.kind))
    if layer not in analysis.layers:
        layer, kind = at.layer, at.kind
    state[session.DESK_LAYER], state[session.DESK_KIND] = layer, kind

    def choose() -> None:
        state[session.DESK_SITE] = (state[session.DESK_LAYER], state[session.DESK_KIND] or kind)

    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox("Layer", analysis.layers, key=session.DESK_LAYER, width=110, on_change=choose)
        st.segmented_control(
            "Keys or values",
            ("key", "value"),
            key=session.DESK_KIND,
            required=True,
            width="content",
            format_func=lambda name: f"{name}s",
            on_change=choose,
        )
    return layer, cast(Kind, kind)


def _presets(analysis: "Analysis", place: SitePlace, strip: Strip, nonzero: int) -> None:
    at = session.selection(analysis)
    direction = at.direction + 1 if place == (at.layer, at.kind) and at.direction < nonzero else 1
    offered: dict[str, tuple[Callable[[], Strip], str]] = {
        "Reset": (lambda: faders.strip_of(None, nonzero), "Every gain of this site is 1."),
        "Project": (partial(faders.projected, strip), "Keeps the directions below, and removes all others."),
        "Complement": (partial(faders.complement, strip), "Removes the directions below, and keeps all others."),
        f"Remove direction {direction}": (partial(faders.without, strip, direction), "Keeps everything else."),
    }
    with st.container(horizontal=True, gap="small"):
        for name, (make, help) in offered.items():
            st.button(
                name, on_click=lambda make=make: _put(place, make()), help=help, key=f"{session.PRESET_OF}_{name}"
            )


def _short(number: int, share: float, called: str) -> str:
    """What stands before a direction's fader, as markdown: its number, its energy, and what somebody calls it."""
    return f"**d{number}** · {share:.1%} of the energy{f' · {escaped(called)}' if called else ''}"


def _channel(place: SitePlace, strip: Strip, channel: int, name: str, short: str) -> None:
    """A channel: what it is, whether it is removed or alone kept, and its fader, which rests at 0 while it is silent.

    Args:
        short: what stands before them, as markdown.
    """
    state, key = st.session_state, f"{session.FADER}_{place[0]}_{place[1]}_{channel}"
    state[key] = strip.gain(channel)
    keys = f"{key}_keys"
    state[keys] = [_MUTE] * (channel in strip.muted) + [_SOLO] * (channel in strip.solo)
    loudest = max(_LOUDEST, abs(strip.fader(channel)))
    with st.container(gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":small[{short if strip.gain(channel) else f'~~{short}~~'}]", width="stretch")
            st.pills(
                f"{name}: remove it, or keep only it",
                (_MUTE, _SOLO),
                selection_mode="multi",
                key=keys,
                label_visibility="collapsed",
                width="content",
                on_change=lambda: _put(place, strip.pressed(channel, _MUTE in state[keys], _SOLO in state[keys])),
            )
        st.slider(
            f"Gain of {name[0].lower()}{name[1:]}",
            -loudest,
            loudest,
            step=_STEP,
            key=key,
            format="× %g",
            label_visibility="collapsed",
            disabled=strip.silent(channel),
            on_change=lambda: _put(place, strip.moved(channel, state[key])),
        )


def _say_mix(strips: Mapping[SitePlace, Strip]) -> None:
    """The lane in words, and the formula."""
    mix = faders.mix_of(strips)
    if not mix:
        caption(f"Every gain is 1: no lane yet. The first {FADERS} directions have faders; 0 removes, below 0 flips.")
        return
    said = f"**Mixed: {escaped(gains_in_words(mix))}.** Generate writes it as a lane of its own, beside the others."
    st.markdown(f":small[{said} K̃ = K + Σ (gᵢ − 1) uᵢ uᵢᵀ K; 0 removes, 1 keeps.]")
    if len(mix) > 1:
        st.button("Reset all sites", on_click=_clear)
