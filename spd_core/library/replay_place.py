"""Where replaying finds things: those of an unpacked bundle in its folder, all others on this machine. No torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from spd_core.errors import ModelError
from spd_core.library.replay_report import Surrounding, around
from spd_core.library.things import Ref, capture_ref, home_of, place_of_thing
from spd_core.models.identity import same_revision
from spd_core.progress import Stop, Tell, silent
from spd_core.storage import spd_home, versions
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import load_capture

if TYPE_CHECKING:
    from spd_core.models.loading import LanguageModel


class OpenModel(Protocol):
    """Loads a model by its name, revision (None for the newest) and dtype."""

    def __call__(self, name: str, revision: str | None, dtype: str, tell: Tell) -> "LanguageModel":
        """The model; raises `SpdError` where it cannot be loaded."""


@dataclass(frozen=True)
class Replaying:
    """What replaying stands on.

    Attributes:
        open_model: how a model is loaded.
        model: a folder or hub id that is asked instead of the recorded name, where that lies elsewhere here.
        folder: of an unpacked bundle, laid out as `SPD_HOME`, and the `things` in it.
        tell, stop: progress, and whether to end now.
    """

    open_model: OpenModel
    model: str = ""
    folder: Path | None = None
    things: frozenset[Ref] = frozenset()
    tell: Tell = silent
    stop: Stop = field(default=lambda: False)

    def find(self, ref: Ref) -> Path:
        """Where a thing lies; raises `InputError` where it is neither in the bundle nor here."""
        if self.folder is not None and ref in self.things:
            return self.folder / home_of(ref).relative_to(spd_home())
        return place_of_thing(ref)

    def capture(self, name: str) -> Analysis:
        """A capture as `open_capture` names it; raises `InputError` where it is gone or damaged."""
        own = name.partition("/")[2]
        folder = self.find(capture_ref(name))
        return dataclasses.replace(load_capture(folder / "captures" / own if own else folder), name=name)

    def language_model(self, name: str, revision: str, dtype: str) -> "LanguageModel":
        """The very model that was recorded.

        Raises:
            SpdError: it is not on this machine, another one is there, or it does not fit the memory.
        """
        from spd_core.models.described import describe_model, weights_are_here
        from spd_core.models.identity import pinned
        from spd_core.models.packaged import PACKAGED

        wanted = self.model or name
        if wanted in PACKAGED:
            describe_model(wanted)  # says how to install it, or to accept its terms
        if not weights_are_here(wanted, pinned(wanted, revision)):
            raise ModelError(
                f"the model {name} ({revision}) is not on this machine; load it once, or name where it lies (--model)"
            )
        lm = self.open_model(wanted, pinned(wanted, revision), dtype, self.tell)
        if not same_revision(revision, lm.name, lm.revision, name):
            raise ModelError(f"the model here is {lm.name} ({lm.revision}), and this was made with {name} ({revision})")
        return lm


def here_and_then(lm: "LanguageModel", device: str, dtype: str, recorded: Mapping[str, str]) -> tuple[Surrounding, ...]:
    """Device, dtype, versions and threads, then and now. Threads were not noted: they change the last bits alone."""
    import torch

    here = {"device": str(lm.device), "dtype": str(lm.dtype).removeprefix("torch."), **versions()}
    found = around({"device": device, "dtype": dtype, **recorded}, here)
    return (*found, Surrounding("threads", "", str(torch.get_num_threads())))
