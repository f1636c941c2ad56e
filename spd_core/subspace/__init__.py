"""From gradients to a spectrum, and from a spectrum to the capability subspace."""

TYPE_CHECKING = False
if not TYPE_CHECKING:
    from spd_core import __getattr__  # noqa: F401 - programs exported before the packages look for names here
