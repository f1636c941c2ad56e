"""Lets programs that were exported before the packages (November 2026) run on: old modules lead to the public face.

They import from `OLD`, and from `generation`, `models` and `subspace`, which are packages now and pass such names on
themselves. Imports nothing: a sealed process (see `sandbox`) pays for every import.
"""

import sys

OLD = ("adapter_cards", "adapters", "captures", "comparison", "projection", "sampling")
TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _OldModules:
    """A finder and loader (`importlib`) of modules that have no file any more; each of them is the public face."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        if not name.startswith("spd_core.") or name.removeprefix("spd_core.") not in OLD:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: "ModuleSpec") -> None:
        """Python's own."""

    def exec_module(self, module: "ModuleType") -> None:
        import spd_core

        module.__dict__["__getattr__"] = spd_core.__getattr__


sys.meta_path.append(_OldModules())  # last: it is asked for what nobody else has found
