"""What lanes write, what each makes of a written text, and how texts differ."""

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from spd_core import __getattr__  # noqa: F401 - programs exported before the packages look for names here
