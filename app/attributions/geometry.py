"""Geometry: the tokens of a capture in the plane or space of chosen directions, and where projecting moves them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app.attributions import calibration_texts
from app.attributions.asking import latest_result, start_button
from app.attributions.calibration_texts import LETTER, direction_file_name
from app.attributions.grouping import CLASS, COLOURS, IN_PLURAL, RIGHT, UNKNOWN, grouped
from app.attributions.recorded_probes import recorded_probes
from app.attributions.token_tables import COLUMNS, readable_table
from app.jobs.requests import RightRequest, same_capture
from app.ui import links, session
from app.ui.direction_names import names_of
from app.ui.point_cloud import Axis, Grouped, cloud_data, point_cloud
from app.ui.session import Selection
from app.ui.tables import to_csv
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, counted, download, escaped, is_dark, provenance
from spd_core.attribution.geometry import (
    ACTIVATIONS,
    GRADIENTS,
    OUTSIDE,
    Points,
    drawn_tokens,
    lengths_of,
    points_of,
)
from spd_core.attribution.geometry_verdict import geometry_verdict, separation
from spd_core.attribution.tables import tokens_of
from spd_core.glossary import meaning
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import numerical_rank
from spd_core.text import opening, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.models.families import Site

MOST_POINTS = 20_000
"""Tokens that are drawn; of more as many, drawn at random."""
_REST, _NONE = "outside the subspace", "none"


def geometry_panel(analysis: Analysis, site: "Site", at: Selection, top: "DeltaGenerator") -> None:
    """Tokens as points: gradients or activations along directions, before and after projecting; the sentence on it
    goes to the `top`."""
    if not calibration_texts.was_kept(analysis, at):
        return
    tokens = tokens_of(analysis.examples, calibration_texts.special_ids(analysis))
    of, by, hide, axes, rank = _pick_points(analysis, site, at)
    if len(axes) < 2:
        st.info("This capture keeps a single direction, and no lengths of tokens: capture again to see its geometry.")
        return
    points = points_of(analysis.sites[site], of, axes, rank)
    here = analysis.rows_of(at.example).start + at.token
    visible = ~tokens.aside.to_numpy() if hide else np.ones(len(tokens), bool)
    rows = drawn_tokens(visible, MOST_POINTS, always=here)
    right = _right_texts(analysis) if by == RIGHT else None
    groups = grouped(by, tokens, analysis, np.linalg.norm(points.values, axis=1), at.example, right)
    with top:
        draw_verdict(_verdict(points, rows, of, by, groups, tokens))
    makes = "it makes" if of == GRADIENTS else f"its {site.kind} has"
    st.markdown(
        f"A point is a token: the farther left or right of 0, the more {makes} of direction {at.direction + 1}."
    )
    _draw(analysis, site, at, points, rows, groups, of, here)
    _say(points, len(rows), int(visible.sum()), of, site.kind)
    _twin_and_files(analysis, at, points, rows, groups, of, tokens)
    provenance(analysis, f"{of} of {site.label}", counted(len(rows), "token"))


# --- choices -------------------------------------------------------------------------------------------------


def _pick_points(analysis: Analysis, site: "Site", at: Selection) -> tuple[str, str, bool, tuple[int, ...], int]:
    """What a point is, what it is coloured by, whether outliers by position are left out, the axes and the rank."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        of = st.segmented_control(
            "Points",
            (GRADIENTS, ACTIVATIONS),
            default=GRADIENTS,
            required=True,
            key=session.POINTS,
            bind="query-params",
            help="The gradient of the loss at each token, or the token's own key or value. Both were kept by the "
            "capture: no model is needed.",
        )
        axes, rank = _pick_axes(analysis, site, at, of or GRADIENTS)
        by = st.selectbox("Colour by", COLOURS, key=session.POINT_COLOUR, bind="query-params", width=150)
        hide = calibration_texts.pick_aside()
    if rank < session.chosen_rank(analysis.d_kv):
        caption(
            f"Rank {rank} here, {session.chosen_rank(analysis.d_kv)} elsewhere: this capture keeps single tokens for "
            f"its first {analysis.kept_directions} directions only."
        )
    return of or GRADIENTS, by or CLASS, hide, axes, rank


def _pick_axes(analysis: Analysis, site: "Site", at: Selection, of: str) -> tuple[tuple[int, ...], int]:
    """The axes, the direction in hand first, and the rank of the subspace that points are projected into."""
    found = analysis.sites[site]
    most = min(analysis.kept_directions, numerical_rank(found.values, analysis.provenance.dtype))
    named = {f"direction {i + 1}": i for i in range(most) if i != at.direction}
    if lengths_of(found, of) is not None:
        named = {_REST: OUTSIDE} | named
    links.take_linked(session.UP, session.THIRD)
    own, called = names_of(analysis), {}
    for name, axis in named.items():
        note = own.get((site.layer, site.kind, axis))
        called[name] = f"{name} “{escaped(opening(note, 26))}”" if note else name
    y = _pick_axis("Up", session.UP, list(named), called)
    z = _pick_axis("Third axis", session.THIRD, [_NONE, *(name for name in named if name != y)], called)
    st.session_state[session.PICK_RANK] = rank = min(session.chosen_rank(analysis.d_kv), most)
    st.number_input(
        "Rank",
        1,
        most,
        key=session.PICK_RANK,
        width=110,
        on_change=lambda: session.choose_rank(st.session_state[session.PICK_RANK]),
        help=f"{meaning('rank')} The same on all pages. Directions within it stay, everything else shrinks. This "
        f"capture keeps single tokens for {most} of {site.d_kv} directions.",
    )
    return (at.direction, *(named[name] for name in (y, z) if name in named)), rank


def _pick_axis(label: str, key: str, names: list[str], called: Mapping[str, str]) -> str | None:
    """A direction that has been taken by another axis, as by stepping on, gives way to the first one.

    What the user calls a direction stands in the list, and never in the link.
    """
    if key in st.session_state and st.session_state[key] not in names:
        st.session_state[key] = next(iter(names), None)
    chosen = st.selectbox(
        label, names, key=key, persist_state="session", format_func=lambda name: called.get(name, name), width=190
    )
    links.write_linked({key: chosen if chosen and chosen != names[0] else ""})
    return chosen


def _right_texts(analysis: Analysis) -> Mapping[str, float] | None:
    """How much of each text the model gets right, where it was asked; the button that asks it."""
    result, probes = latest_result(session.RIGHT_JOB), recorded_probes(analysis)
    known: Mapping[str, float] | None = probes.settings.right if probes is not None else None
    if result is not None and same_capture(result.request.analysis, analysis):
        known = result.found
    if not known or len(known) < len(analysis.examples):
        start_button("Read the texts", session.RIGHT_JOB, RightRequest(analysis))
    means = (
        "A loss token is right where it is the model's most likely one, given all before it; a text where all are, and "
        "partly where some are."
    )
    if not known:
        caption(f"{means} That needs the model, which reads {counted(len(analysis.examples), 'text')} once.")
    else:
        whole, none = (sum(share == end for share in known.values()) for end in (1, 0))
        partly = len(known) - whole - none
        caption(f"{means} Of {len(known)} texts {whole} are right, {partly} partly, and {none} wrong.")
    return known


# --- the picture ---------------------------------------------------------------------------------------------


def _verdict(points: Points, rows: "NDArray[np.int64]", of: str, by: str, groups: Grouped, tokens: "DataFrame") -> str:
    apart = None
    if by in IN_PLURAL and UNKNOWN not in groups.names and len(rows):
        apart = separation(points.values[rows], groups.of[rows], tokens.example.to_numpy()[rows])
    return geometry_verdict(points, rows, of, IN_PLURAL.get(by, ""), apart)


def _unit(of: str) -> str:
    return "nats per unit" if of == GRADIENTS else "units of activation"


def _names(points: Points, of: str, analysis: Analysis, site: "Site") -> list[Axis]:
    """What axes are called; directions that have a name of the user's, by that, too."""
    letter, known = "g" if of == GRADIENTS else LETTER[site.kind], names_of(analysis)

    def name(axis: int) -> Axis:
        if axis == OUTSIDE:
            title = f"length outside the first {points.rank} directions ({_unit(of)})"
            return Axis(title, f"outside rank {points.rank}")
        short, own = f"{letter}·u{axis + 1}", known.get((site.layer, site.kind, axis))
        return Axis(f"along direction {axis + 1}{f' “{shown(own)}”' if own else ''} ({short}, {_unit(of)})", short)

    return [name(axis) for axis in points.axes]


def _strength() -> float:
    """The strength that a link or the slider says."""
    links.take_linked(session.MOVED)
    text = str(st.session_state.get(session.MOVED, ""))
    try:
        strength = session.clamped(float(text or 0), 0.0, 1.0)
    except ValueError:
        strength = 0.0
    links.write_linked({session.MOVED: f"{strength:g}" if strength > 0 else ""})
    return strength if strength > 0 else 0.0  # not a number is not above 0 either


def _draw(
    analysis: Analysis, site: "Site", at: Selection, points: Points, rows: "NDArray[np.int64]", groups: Grouped,
    of: str, here: int,
) -> None:  # fmt: skip
    axes = _names(points, of, analysis, site)

    def select(row: int) -> None:
        session.select(example=int(analysis.example_of[row]), token=int(analysis.position_of[row]))

    data = cloud_data(
        points,
        axes,
        rows,
        groups,
        analysis.examples,
        unit=_unit(of),
        selected=here,
        strength=_strength(),
        label=f"{len(rows):,} {of} of {site.label} as points along {', '.join(axis.title for axis in axes)}. "
        "Arrow keys turn or move the picture, plus and minus zoom; the table below holds the numbers.",
        dark=is_dark(),
    )
    point_cloud(
        data,
        key=session.POINT_CLOUD,
        on_pick=select,
        on_strength=lambda s: st.session_state.update({session.MOVED: f"{s:g}"}),
    )


def _say(points: Points, drawn: int, shown: int, of: str, kind: str) -> None:
    """What is drawn, and how to read it."""
    if drawn < shown:
        caption(f"{drawn:,} of {shown:,} tokens are drawn, chosen at random; the sentence above is on these.")
    moves = "drag it, and what lies outside the subspace shrinks to nothing"
    if not points.shrinks.any():
        moves = "these axes lie inside the subspace, so it moves nothing here: choose *outside the subspace* as an axis"
    what = "the gradient of the loss at it" if of == GRADIENTS else f"its {kind}"
    st.markdown(
        f"**How to read this:** a token is drawn where {what} points. **Strength** is that of the projection: {moves}. "
        "Point at a token to read it in its text; click it to select it on all pages. Drag to turn or move, Ctrl + "
        "wheel zooms."
    )


# --- the numbers ---------------------------------------------------------------------------------------------


def _table(
    points: Points, axes: Sequence[Axis], rows: "NDArray[np.int64]", groups: Grouped, tokens: "DataFrame"
) -> Any:
    along = {axis.short: points.values[rows, at] for at, axis in enumerate(axes)}
    names = {} if groups.ordered else {"group": [groups.names[at] for at in groups.of[rows]]}
    return tokens.iloc[rows][["text", "example", "position", "id", "role"]].assign(**names, **along)


def _twin_and_files(
    analysis: Analysis, at: Selection, points: Points, rows: "NDArray[np.int64]", groups: Grouped, of: str,
    tokens: "DataFrame",
) -> None:  # fmt: skip
    axes = _names(points, of, analysis, analysis.site(at.layer, at.kind))
    with st.expander("The numbers as a table", key=session.POINTS_TABLE_OPEN, on_change="rerun") as opened:
        if opened.open:
            number = {axis.short: st.column_config.NumberColumn(format="%.4g", help=_unit(of)) for axis in axes}
            st.dataframe(
                readable_table(_table(points, axes, rows, groups, tokens)),
                hide_index=True,
                height=320,
                column_config=COLUMNS | {"group": "Coloured as"} | number,
                alt="The points before projecting",
            )
    csv = f"points-{direction_file_name(at)}.csv"
    download("Every point as CSV", lambda: to_csv(_table(points, axes, rows, groups, tokens)), csv)
