"""The way from a direction to the mixing desk of Side by side."""

from typing import TYPE_CHECKING

import streamlit as st

from app.side_by_side.opening import open_mixed
from app.ui.session import Selection
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import numerical_rank

if TYPE_CHECKING:
    from spd_core.models.families import Site


def mix_button(analysis: Analysis, site: "Site", at: Selection) -> None:
    """Opens Side by side with a lane from which the direction is removed."""
    nonzero = numerical_rank(analysis.sites[site].values, analysis.provenance.dtype)
    if st.button(
        "Mix this direction",
        icon=":material/instant_mix:",
        disabled=at.direction >= nonzero,
        help="Opens Side by side with a lane from which this direction is removed, and the desk to amplify or flip it.",
    ):
        open_mixed(site.layer, site.kind, at.direction + 1)
