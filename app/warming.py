"""What the first page needs and never changes, made while the browser still loads its own part: nobody waits for it.

Torch comes later: it would take the browser's core.
"""

import importlib

from spd_core.imports import collected_never

HOME = ("app.ui.header", "app.home.capture", "app.home.pickers")
"""What Home imports."""
OTHER_PAGES = (
    "app.spectrum.views",
    "app.attributions.energy_sums",
    "app.attributions.causal_check",
    "app.attributions.logit_lens",
    "app.attributions.own_text",
    "app.side_by_side.results",
    "pandas",
    "plotly.graph_objects",
    "plotly.subplots",
)
"""What the pages with figures import."""


def warm() -> None:
    """Import it; make the list of words and a first figure; and have Streamlit ask once where it was called from."""
    with collected_never():
        _import(HOME)

        from streamlit.env_util import is_repl

        from app.ui.header import glossary_html

        glossary_html()
        is_repl()  # it reads the names of all modules, and remembers them
        _import(OTHER_PAGES)

        from plotly.subplots import make_subplots

        make_subplots(cols=2)


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)
