"""`python -m spd_core notes`: what directions of a capture are called. No model is loaded."""

from typing import Annotated

import typer

from spd_core.cli.console import Json, print_result


def notes_command(
    capture: Annotated[str, typer.Argument(help="a capture: its folder, or its name")],
    find: Annotated[str, typer.Option(help="only notes that hold these words")] = "",
    as_json: Json = False,
) -> None:
    """Print the names and remarks that were given to directions of a capture."""
    from spd_core.subspace.direction_notes import notes_on, notes_with, read_notes
    from spd_core.subspace.store import capture_at, capture_place, notes_in

    notes = notes_on(capture_at(capture), read_notes(notes_in(capture_place(capture)))).values()
    found = {
        f"layer {note.layer} {note.kind}, direction {note.direction}": {"name": note.name, "remark": note.remark}
        for note in notes_with(notes, find)
    }
    lines = {place: " · ".join(filter(None, one.values())) for place, one in found.items()}
    print_result(found if as_json else lines or {"notes": "none"}, as_json)
