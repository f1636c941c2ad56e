"""Which model, where its keys and values are, and what it costs in memory."""

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from spd_core import __getattr__  # noqa: F401 - programs exported before the packages look for names here
