"""The shelf: everything that is kept, of all models, with what it stands on and what stands on it. Imports no torch.

What cannot be read is listed with the reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spd_core.errors import InputError
from spd_core.library.kept import all_things
from spd_core.library.things import Ref, Thing


@dataclass(frozen=True)
class Shelf:
    """All things by their refs, the newest first."""

    things: Mapping[Ref, Thing]

    def standing_on(self, ref: Ref) -> tuple[Thing, ...]:
        """What stands directly on a thing; not there any more or not."""
        return tuple(one for one in self.things.values() if ref in one.stands_on)

    def needed_by(self, refs: Iterable[Ref]) -> list[Ref]:
        """Some things and all that they stand on, as far as it is here; a run brings its adapters along.

        Raises:
            InputError: one of them is not on the shelf.
        """
        wanted, found = list(refs), dict[Ref, None]()
        for ref in wanted:
            if ref not in self.things:
                raise InputError(f"no {ref.kind} {ref.name!r} is kept on this machine; choose one of the library")
        parts = [one.ref for ref in wanted if ref.kind == "run" for one in self.adapters_of(ref.name)]
        left = [*wanted, *parts]
        while left:
            ref = left.pop()
            if ref not in found and ref in self.things:
                found[ref] = None
                left.extend(self.things[ref].stands_on)
        return list(found)

    def adapters_of(self, run: str) -> list[Thing]:
        """The adapters that lie in a run's folder."""
        return [one for ref, one in self.things.items() if ref.kind == "adapter" and ref.name.startswith(f"{run}/")]

    def missing(self, thing: Thing) -> tuple[Ref, ...]:
        """What a thing stands on and is not here any more."""
        return tuple(ref for ref in thing.stands_on if ref not in self.things)

    def unused(self) -> list[Thing]:
        """Own things that nothing refers to and that nobody opens by themselves: answers of no evaluation."""
        return [one for one in self.things.values() if one.ref.kind == "answers" and not self.standing_on(one.ref)]

    def unreferenced(self) -> list[Thing]:
        """Own captures, texts and repeats that nothing stands on: somebody may look at them still, so nobody deletes
        them unasked."""
        kinds = ("capture", "text", "repeat")
        own = [one for one in self.things.values() if one.ref.kind in kinds and not one.recorded]
        return [one for one in own if not self.standing_on(one.ref)]


def read_shelf() -> Shelf:
    """Everything kept in `SPD_HOME`, and what comes with SPD Lab.

    Raises:
        InputError: the folder of runs cannot be read.
    """
    newest_first = sorted(all_things(), key=lambda one: one.made, reverse=True)
    return Shelf({one.ref: one for one in newest_first})
