"""Lenses and causal checks that come with a recorded capture: shown where a live one would be, until there is one."""

import streamlit as st

from app.ui.widgets import caption, duration, escaped, ranges
from spd_core.attribution import recorded
from spd_core.attribution.recorded import RecordedProbes
from spd_core.errors import InputError
from spd_core.storage import modified
from spd_core.subspace.analysis import Analysis


def recorded_probes(analysis: Analysis) -> RecordedProbes | None:
    """What is recorded of the capture, if anything; damaged files are said."""
    if not analysis.recorded:
        return None
    folder = recorded.RECORDED_PROBES / analysis.name
    try:
        return _read_once(analysis.name, modified(folder / recorded.RECORD), analysis)
    except InputError as error:
        caption(escaped(f"What is recorded of this capture cannot be read: {error}"))
        return None


@st.cache_resource(max_entries=8, show_spinner=False)
def _read_once(name: str, stamp: float, _analysis: Analysis) -> RecordedProbes | None:
    return recorded.probes_of(_analysis)


def recording(probes: RecordedProbes) -> str:
    """When and with what it was recorded, for the line below a result."""
    made = probes.settings
    return f"recorded on {made.recorded} with {made.model}, {made.dtype} on {made.device}"


def say_lenses(analysis: Analysis, probes: RecordedProbes) -> None:
    """Of which directions a lens is recorded, and what the others need."""
    sites = [site for site in analysis.sites if site.name in probes.lenses]
    last = min(len(probes.lenses[site.name]) for site in sites)
    caption(
        f"Recorded are the lenses of value directions 1 to {last} of layers {ranges([site.layer for site in sites])}. "
        "For any other, press the button: it loads the built-in model."
    )


def say_checks(analysis: Analysis, probes: RecordedProbes) -> None:
    """Of which directions a causal check is recorded, and what the others need."""
    said = [f"{site.label} directions 1 to {last}" for site, last in probes.checked(analysis).items()]
    caption(
        f"Recorded are the checks of {' and '.join(said)}, on the calibration texts. For any other, press the button: "
        f"it loads the built-in model, and takes about {duration(probes.settings.seconds)} at the last layer, longer "
        "below."
    )
