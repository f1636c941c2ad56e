"""The way from a direction to the mixing desk of Side by side."""

from typing import TYPE_CHECKING

import streamlit as st

from app.side_by_side.opening import open_mixed
from app.ui.direction_names import direction_title
from app.ui.session import Selection
from app.ui.widgets import escaped
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import numerical_rank

if TYPE_CHECKING:
    from spd_core.models.families import Site


def mix_button(analysis: Analysis, site: "Site", at: Selection) -> None:
    """Opens Side by side with a lane from which the direction is removed."""
    nonzero = numerical_rank(analysis.sites[site].values, analysis.provenance.dtype)
    title = direction_title(analysis, site, at.direction)
    if st.button(
        "Mix this direction",
        icon=":material/instant_mix:",
        disabled=at.direction >= nonzero,
        help=f"Opens Side by side with a lane from which {escaped(title)} is removed, and the desk to amplify or flip "
        "it.",
    ):
        open_mixed(site.layer, site.kind, at.direction + 1)
