"""The SPD Lab engine: gradients of a capability, its subspace, text written inside it, and training on that text.

The names in `FACE` are for notebooks and exported programs: `from spd_core import Lane, generate, load, open_capture`.
Each is imported when it is first used; importing the package is instant.
"""

__version__ = "0.1.0"
FACE = {
    "ROWS": "generation.compare",
    "Lane": "intervention.projection",
    "Sampling": "recipes.lanes",
    "SiteGains": "recipes.gains",
    "adapter_folder": "intervention.cards",
    "capture": "subspace.pipeline",
    "capture_at": "subspace.store",
    "export_folded": "intervention.export",
    "export_merged": "intervention.export",
    "find_capability": "data.catalog",
    "generate": "generation.decode",
    "load": "models.loading",
    "load_adapter": "intervention.adapters",
    "open_capture": "subspace.store",
    "random_subspace": "subspace.subspace",
    "subspace_of": "subspace.subspace",
}
"""Public names, and the module that defines each."""


def __getattr__(name: str) -> object:
    """PEP 562: a public name, from the module that defines it."""
    if name not in FACE:
        raise AttributeError(f"module 'spd_core' has no attribute {name!r}; it offers {', '.join(sorted(FACE))}")
    from importlib import import_module  # here: a sealed process (`sandbox`) pays for every import of this file

    return getattr(import_module(f"spd_core.{FACE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *FACE])


from spd_core import saved_programs  # noqa: E402, F401
