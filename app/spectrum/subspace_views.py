"""Parts of the Spectrum page about subspaces: their overlap, and the gradient rows that they are made of."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.spectrum import numbers, subspace_charts
from app.ui import session
from app.ui.header import capture_label
from app.ui.tables import to_csv
from app.ui.widgets import caption, chart, distinct_labels, download, escaped, is_dark, no_tokens
from spd_core.errors import InputError
from spd_core.glossary import meaning
from spd_core.subspace.overlap_verdict import ALL, captures_verdict, layers_verdict
from spd_core.subspace.rows_verdict import rows_verdict
from spd_core.subspace.spectrum import overlap
from spd_core.subspace.store import recorded_captures

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis
    from spd_core.subspace.spectrum import Overlap


def subspace_overlaps(analysis: "Analysis", rank: int) -> str:
    """Principal angles between subspaces: halves of the examples, other captures, layers; returns what they show."""
    st.subheader("What subspaces share, in percent", anchor=False)
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
        return ""
    found = overlap(bases)
    rows = numbers.overlap_rows(found)
    _draw_overlap(found, rows, site.label)
    where = f"the {at.kind} sites" if view == "layers" else site.label
    st.markdown(
        f"**How to read this:** {where} at rank {rank}. *Shared* is the part of one subspace that lies inside the "
        f"other, the mean cos² of their principal angles. {_READ[len(found.names) > subspace_charts.MOST_NUMBERED]}"
    )
    download("All values as CSV", lambda: to_csv(rows), "overlap.csv")
    if view == "layers":
        return layers_verdict(found, f"{at.kind.capitalize()}s at rank {rank}")
    return captures_verdict(found, f"Layer {at.layer} {at.kind}s at rank {rank}")


_READ = {
    True: "What random subspaces share is marked on the scale of colours; each with itself is left out.",
    False: "Yellow is the same subspace, dark blue no more than random ones share. Halves that agree no better than "
    "chance mean that the examples are too few for this rank.",
}
"""By whether there are too many for numbers."""


def _draw_overlap(found: "Overlap", rows: list[dict[str, Any]], where: str) -> None:
    """The angles as a map with the table beside it; of many subspaces the map takes the width, and the table folds."""
    degrees = st.column_config.NumberColumn(format="%.1f°", help=meaning("principal angle"))
    columns = {f"{which} angle": degrees for which in ("Smallest", "Mean", "Largest")}
    columns |= {name: st.column_config.NumberColumn(format="%.1f%%", help=told) for name, told in _SHARED.items()}
    many = len(found.names) > subspace_charts.MOST_NUMBERED
    shared = "; ".join(f"{row['First']} and {row['Second']} {row['Shared']:.0%}" for row in rows[:30])
    left, right = (st.container(), st.expander("All pairs as a table")) if many else st.columns(2, gap="medium")
    with left:
        chart(
            subspace_charts.overlap_matrix(found, dark=is_dark()),
            key="chart_overlap",
            alt=f"What subspaces share at {where}: {shared}{'; …' * (len(rows) > 30)}.",
        )
    shown = [row | {name: 100 * row[name] for name in _SHARED} for row in rows]
    right.dataframe(shown, hide_index=True, column_config=columns, alt="What is shared, and the angles, as a table")


_SHARED = {
    "Shared": "Mean cos² of the principal angles: the part of the smaller subspace that lies inside the other",
    "By chance": "What random subspaces of these ranks share: the larger rank ÷ d_kv",
}


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
            bases[capture_label(name).removesuffix(" (recorded)")] = found[ALL]
        except InputError as error:
            caption(f"{escaped(capture_label(name))} is left out: {escaped(str(error))}.")
    return bases


def gradient_rows(analysis: "Analysis", _rank: int) -> str:
    """The gradient rows of the selected site on their first principal components; returns what they show."""
    at = session.selection(analysis)
    coordinates = analysis.sites[analysis.site(at.layer, at.kind)].coordinates
    st.subheader(f"The gradient rows of layer {at.layer} {at.kind} (PCA)", anchor=False)
    if coordinates is None or coordinates.scores.shape[1] < 2:
        st.info(no_tokens(analysis))
        return ""
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
    download("All values as CSV", lambda: to_csv(table), "rows.csv")
    return rows_verdict(analysis, at.layer, at.kind)
