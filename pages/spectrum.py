"""Spectrum: how many directions carry this capability?"""

import streamlit as st

from app import charts, session
from app.captured import Captured, Panel, table, to_csv
from app.widgets import empty, header, in_hand, is_dark, provenance

_MODEBAR = {"displaylogo": False, "toImageButtonOptions": {"format": "png", "scale": 2, "filename": "spectrum"}}


def pick_rank(d_kv: int) -> int:
    """The rank slider: it defines the projected lane on all pages."""
    if not 1 <= st.session_state.get(session.RANK, 1) <= d_kv:  # a link, or a capture on another model
        del st.session_state[session.RANK]
    rank = session.clamped(
        st.slider(
            "Rank: how many directions of each site to keep", 1, d_kv, d_kv // 2, key=session.RANK,
            bind="query-params", help=f"The paper keeps half of d_kv: {d_kv // 2} of {d_kv}.",
        ),
        1, d_kv,
    )  # fmt: skip
    session.choose_rank(rank)
    return rank


def pick_layers(layers: list[int]) -> list[int]:
    """Which layers to draw, when there are many."""
    if len(layers) <= 4:
        return layers
    chosen = st.multiselect(
        "Layers shown", layers, default=[*layers[:3], layers[-1]], key=session.LAYERS_SHOWN, persist_state="session"
    )
    return sorted(set(chosen) & set(layers)) or layers[:1]


def draw(captured: Captured, panels: list[Panel], rank: int) -> None:
    """Both figures, their table twin and the downloads."""
    dark, builders = is_dark(), (charts.singular_values, charts.cumulative_energy)
    values, energy = (build(panels, rank, dark=dark) for build in builders)
    rows = table(panels, rank)
    kept = "; ".join(f"{row['Site']} keeps {row['Energy kept']:.2f} %" for row in rows)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Singular values (log σᵢ)", anchor=False)
        st.plotly_chart(values, key="values", config=_MODEBAR,
                        alt=f"Singular values on a log scale for each site, with the rank {rank} marked.")  # fmt: skip
    with right:
        st.subheader("Cumulative energy (share of Σσ²)", anchor=False)
        st.plotly_chart(energy, key="energy", config=_MODEBAR,
                        alt=f"Cumulative energy for each site. At rank {rank}: {kept}.")  # fmt: skip
    st.markdown(
        "**How to read this:** a curve that drops (left) or rises (right) steeply means that few directions carry the "
        "loss; what lies right of the dashed line is removed when projecting."
    )
    st.dataframe(
        rows, hide_index=True, alt="The spectra as a table",
        column_config={
            "Energy kept": st.column_config.NumberColumn(format="%.2f %%"),
            "σ₁": st.column_config.NumberColumn(format="%.3g", help="Largest singular value, nats per unit"),
            "Non-zero σ": st.column_config.NumberColumn(help="Singular values above rounding; no rank can exceed it"),
        },
    )  # fmt: skip
    title = f"Spectrum of {captured.request.capability.name}, rank {rank}"
    with st.container(horizontal=True):
        st.download_button("All values as CSV", data=lambda: to_csv(panels), file_name="spectrum.csv",
                           mime="text/csv", on_click="ignore", icon=":material/download:")  # fmt: skip
        st.download_button("Figures as HTML", file_name="spectrum.html", mime="text/html", on_click="ignore",
                           data=lambda: charts.to_html([build(panels, rank) for build in builders], title),
                           icon=":material/download:")  # fmt: skip


header("Spectrum", "How many directions carry this capability?")
strip = st.container()
captured = session.captured()
if captured is None:
    in_hand()
    empty("The spectrum of captured gradients appears here.")
else:
    rank = pick_rank(captured.d_kv)
    with strip:  # after the slider, whose rank it tells
        in_hand()
    panels = captured.panels(pick_layers(captured.layers))
    capped = [panel.label for panel in panels if panel.nonzero < rank]
    draw(captured, panels, rank)
    if capped:
        st.info(
            f"Rank {rank} exceeds the non-zero singular values of {', '.join(capped)}: all of those are kept there. "
            "More calibration examples give more."
        )
    st.page_link(session.SIDE_BY_SIDE, label="Read what projecting does to the text", icon=":material/arrow_forward:")
    provenance(captured, f"rank {rank}", f"{captured.elapsed:.1f} s")
