"""The parts of the Spectrum page: rank, spectra, nulls, overlap of subspaces, and the gradient rows themselves."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.spectrum import charts, numbers, subspace_charts
from app.spectrum.numbers import Panel
from app.ui import launch, progress, session
from app.ui.header import capture_label
from app.ui.tables import to_csv
from app.ui.widgets import caption, chart, distinct_labels, downloads, escaped, failure, is_dark
from spd_core.errors import InputError
from spd_core.subspace.analysis import nulls_of
from spd_core.subspace.spectrum import overlap
from spd_core.subspace.store import recorded_captures

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis

_NULLS_HELP = (
    "Spectra that lack what the capability has. **shuffled answers**: every question with the answer of another one. "
    "**full-sequence loss**: the loss on every answer token. **random directions**: rows of the same lengths that "
    "point anywhere. **bootstrap band**: 5 % to 95 % when the examples are drawn again; a draw has fewer different "
    "examples, so its small singular values are smaller. **KV heads**: each head alone."
)


def pick_rank(d_kv: int) -> int:
    """The rank slider: it defines the projected lane on all pages."""
    return st.slider(
        "Rank: how many directions of each site to keep",
        1,
        d_kv,
        session.chosen_rank(d_kv),
        key=session.RANK_SLIDER,
        on_change=lambda: session.choose_rank(st.session_state[session.RANK_SLIDER]),
        help=f"The paper keeps half of d_kv: {d_kv // 2} of {d_kv}.",
    )


def pick_look(analysis: "Analysis") -> tuple[list[int], charts.Look]:
    """Which layers are drawn, beside what, and on which scales."""
    available = {name for found in analysis.sites.values() for name in found.nulls}
    banded = any(found.band is not None for found in analysis.sites.values())
    options = [name for name in charts.NULLS if name in available] + [charts.BAND] * banded + [charts.HEADS]
    chosen = st.pills(
        "Draw beside it",
        options,
        selection_mode="multi",
        default=options[:1],
        key=session.OVERLAYS,
        bind="query-params",
        help=_NULLS_HELP,
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shared = st.toggle("Same scales in all panels", True, key=session.SHARED, bind="query-params")
        shape = st.toggle(
            "Compare shapes",
            key=session.SHAPE,
            bind="query-params",
            help="Divide every spectrum by its own norm: losses over more tokens have smaller gradients.",
        )
    at = session.selection(analysis)
    look = charts.Look(is_dark(), tuple(chosen), shared, shape, (at.layer, at.kind, at.direction))
    return _pick_layers(analysis.layers), look


def _pick_layers(layers: list[int]) -> list[int]:
    if len(layers) <= 4:
        return layers
    chosen = st.multiselect(
        "Layers shown", layers, default=[*layers[:3], layers[-1]], key=session.LAYERS_SHOWN, persist_state="session"
    )
    return sorted(set(chosen) & set(layers)) or layers[:1]


_COLUMNS = {
    "Energy kept": ("%.2f %%", "Share of Σσ² in the directions kept"),
    "Activations lost": (
        "%.2f %%",
        "‖K − K P‖² / ‖K‖² over all tokens: the share of the keys or values that projecting removes",
    ),
    "Effective rank": ("%.1f", "Over how many directions σ is spread: exp of the entropy of σ / Σσ"),
    "Stable rank": ("%.1f", "Σσ² / σ₁²: 1 when one direction holds all energy; deaf to small σ"),
    **{f"r at {share}%": ("%d", f"How many directions hold {share} % of the energy") for share in (90, 95, 99)},
    "σ₁": ("%.3g", "Largest singular value, nats per unit"),
}


VALUES, ENERGY = "values", "energy"
_BUILD = {VALUES: charts.singular_values, ENERGY: charts.cumulative_energy}
_READ = {
    VALUES: "a curve that drops steeply means that few directions carry the loss; if a dashed null drops as steeply, "
    "the steepness says little about the capability.",
    ENERGY: "a curve that rises steeply means that few directions carry the loss; if a dashed null rises as steeply, "
    "the steepness says little about the capability. *activations* is the same share of the keys or values themselves: "
    "how much of them projecting keeps.",
}


def spectrum_figure(which: str, analysis: "Analysis", panels: list[Panel], rank: int, look: charts.Look) -> None:
    """Singular values or cumulative energy, what to see there, the table twin and the downloads of both."""
    rows = numbers.panel_table(panels, rank)
    kept = "; ".join(f"{row['Site']} keeps {row['Energy kept']:.2f} %" for row in rows)
    alts = {
        VALUES: f"Singular values on a log scale for each site, with the rank {rank} marked.",
        ENERGY: f"Cumulative energy for each site. At rank {rank}: {kept}.",
    }
    chart(_BUILD[which](panels, rank, look), key=f"chart_{which}", alt=alts[which], pick=_select)
    st.markdown(
        f"**How to read this:** {_READ[which]} What lies right of the rank is removed when projecting. Click a point "
        "to select its direction on all pages."
    )
    st.dataframe(
        rows,
        hide_index=True,
        alt="The spectra as a table",
        column_config={
            name: st.column_config.NumberColumn(format=form, help=help_) for name, (form, help_) in _COLUMNS.items()
        },
    )
    title = f"Spectrum of {analysis.capability.name}, rank {rank}"
    light = replace(look, dark=False)
    downloads(
        "spectrum",
        lambda: to_csv(numbers.csv_rows(panels)),
        lambda: [build(panels, rank, light) for build in _BUILD.values()],
        title,
    )


def _select(point: Any) -> None:
    """Make the clicked point the selection of all pages."""
    layer, kind, direction = point
    session.select(layer=int(layer), kind=kind, direction=int(direction))


def null_spectra(analysis: "Analysis") -> None:
    """A button for the nulls that need the model; their progress; what went wrong."""
    job = session.job(session.NULLS_JOB)
    if job is not None and job.running:
        progress.show_progress(job, "Stop the nulls", stopping="Stopping after this batch…")
        return
    if job is not None and job.error:
        failure("The nulls failed:", job.error)
    have = {name for found in analysis.sites.values() for name in found.nulls}
    if set(nulls_of(analysis)) <= have:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Capture the nulls", type="primary", help=_NULLS_HELP)
        seconds = analysis.provenance.seconds or 0
        caption(f"Shuffled answers and full-sequence loss: two captures more, about {2 * seconds + 2:.0f} s.")
    if pressed:
        launch.start_nulls(analysis)
        st.rerun()


def subspace_overlaps(analysis: "Analysis", rank: int) -> None:
    """Principal angles between subspaces: halves of the examples, other captures, layers."""
    st.subheader("Overlap of subspaces (principal angles)", anchor=False)
    at = session.selection(analysis)
    site = analysis.site(at.layer, at.kind)
    view = st.segmented_control(
        "Between",
        ("halves and captures", "layers"),
        default="halves and captures",
        required=True,
        key=session.OVERLAP,
        bind="query-params",
    )
    if view == "layers":
        bases = numbers.bases_by_layer(analysis, at.kind, rank)
        caption("Layers have keys and values of their own: angles between them compare coordinates, not meanings.")
    else:
        bases = numbers.bases_at(analysis, site, rank) | _pick_others(analysis, at.layer, at.kind, rank)
    if len(bases) < 2:
        st.info("There is nothing to compare with: this capture has one subspace here.")
        return
    found = overlap(bases)
    rows = numbers.overlap_rows(found)
    left, right = st.columns((2, 3), gap="medium")
    with left:
        means = "; ".join(f"{row['First']} and {row['Second']} {row['Mean angle']:.0f}°" for row in rows)
        chart(
            subspace_charts.overlap_matrix(found, dark=is_dark()),
            key="chart_overlap",
            alt=f"Mean principal angles at {site.label}: {means}.",
        )
    degrees, share = st.column_config.NumberColumn(format="%.1f°"), st.column_config.NumberColumn(format="percent")
    columns = {f"{which} angle": degrees for which in ("Smallest", "Mean", "Largest")}
    columns |= {"Shared": share, "By chance": share}
    right.dataframe(rows, hide_index=True, column_config=columns, alt="The angles as a table")
    where = f"the {at.kind} sites" if view == "layers" else site.label
    st.markdown(
        f"**How to read this:** {where} at rank {rank}. 0° is the same subspace, 90° none in common. *Shared* is the "
        "part of one subspace that lies inside the other; what random subspaces of this rank share stands beside it. "
        "Halves that agree no better than chance mean that the examples are too few for this rank."
    )
    title = f"Overlap of subspaces of {where}, rank {rank}"
    downloads(
        "overlap",
        lambda: to_csv(rows),
        lambda: [subspace_charts.overlap_matrix(found)],
        title,
    )


def _pick_others(analysis: "Analysis", layer: int, kind: str, rank: int) -> dict[str, Any]:
    """The same site's subspaces of other captures that are chosen."""
    names = [name for name in session.analysis_names() if name != analysis.name]
    default = [name for name in names if name in recorded_captures()] if analysis.recorded else []
    others = st.multiselect(
        "Other captures",
        names,
        default=default,
        format_func=distinct_labels(names, capture_label),
        key=session.OVERLAP_WITH,
        bind="query-params",
    )
    return _bases_of(analysis, others, layer, kind, rank)


def _bases_of(analysis: "Analysis", names: list[str], layer: int, kind: str, rank: int) -> dict[str, Any]:
    """The same site's subspaces of other captures; those that cannot be compared are named, with the reason."""
    bases = {}
    for name in names:
        try:
            other = session.open_analysis(name)
            if not numbers.comparable(analysis, other):
                raise InputError("captured on another model, whose directions are not these")
            found = numbers.bases_at(other, other.site(layer, kind), rank)
            bases[capture_label(name).removesuffix(" (recorded)")] = found["all examples"]
        except InputError as error:
            caption(f"{escaped(capture_label(name))} is left out: {escaped(str(error))}.")
    return bases


def gradient_rows(analysis: "Analysis", _rank: int) -> None:
    """The gradient rows of the selected site on their first principal components."""
    at = session.selection(analysis)
    coordinates = analysis.sites[analysis.site(at.layer, at.kind)].coordinates
    st.subheader(f"The gradient rows of layer {at.layer} {at.kind} (PCA)", anchor=False)
    if coordinates is None or coordinates.scores.shape[1] < 2:
        st.info("This capture kept no single tokens: they did not fit. Capture fewer examples or layers.")
        return
    colour = st.segmented_control(
        "Colour by", ("loss", "example"), default="loss", required=True, key=session.COLOUR, bind="query-params"
    )
    groups, hovers = numbers.row_groups(analysis, coordinates if colour == "example" else None)
    axes = {
        f"u{i + 1}": coordinates.axes[:, i]
        for i in dict.fromkeys((0, 1, at.direction))
        if i < coordinates.axes.shape[1]
    }

    def draw(dark: bool = False) -> Any:
        return subspace_charts.rows_scatter(coordinates.scores, coordinates.explained, groups, hovers, axes, dark=dark)

    def select(point: Any) -> None:
        row = int(point[0])
        session.select(example=int(analysis.example_of[row]), token=int(analysis.position_of[row]))

    chart(
        draw(is_dark()),
        key="chart_rows",
        pick=select,
        alt=f"{len(groups)} gradient rows on two principal components, which hold {coordinates.explained[0]:.0%} and "
        f"{coordinates.explained[1]:.0%} of the variance.",
    )
    st.markdown(
        "**How to read this:** a point is the gradient at one token. Points far from the middle make the first "
        "directions; if they are few, a handful of tokens decides. A dashed line is a direction: long when it lies in "
        "this plane, short when it points out of it. Click a point to select its token."
    )
    table = numbers.row_table(analysis, coordinates.scores)
    with st.expander("The rows as a table"):
        st.dataframe(table, hide_index=True, alt="The gradient rows as a table")
    where = f"layer {at.layer} {at.kind} of {analysis.capability.name}"
    downloads("rows", lambda: to_csv(table), lambda: [draw()], f"Gradient rows of {where}")
