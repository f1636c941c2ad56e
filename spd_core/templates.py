"""Every HTML page and table: Jinja2 templates in `assets/templates`, filled with escaped text.

No template says `safe`: whatever is filled in is escaped, and characters that act on what surrounds them are shown
as escapes. What is HTML already, as a figure of plotly, comes as `Markup`.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from spd_core.glossary import marked
from spd_core.storage import ASSETS
from spd_core.text import shown

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = ASSETS / "templates"


def render(name: str, **values: Any) -> str:
    """The template of that name in `FOLDER`, filled; a value that is missing is an error."""
    return _environment().get_template(name).render(values)


@lru_cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        auto_reload=False,
    )
    environment.globals["marked"] = marked
    return environment


def _harmless(value: Any) -> Any:
    """Text as it is shown; HTML (Markup is a `str` of its own kind) and numbers as they are."""
    return shown(value) if type(value) is str else value
