"""`python -m spd_core contrast`: what is one capability's alone, from captures that are there. No model is loaded."""

from pathlib import Path
from typing import Annotated

import typer

from spd_core.cli.console import Json, bars, print_result
from spd_core.storage import new_name, refuse_existing


def contrast_command(
    of: Annotated[str, typer.Option(help="the capability's capture: its folder, or its name")],
    without: Annotated[list[str], typer.Option(help="a capture of what it may share; give it again for several")],
    out: Annotated[
        Path | None, typer.Option(help="folder for the contrast; by default where the app and --subspace NAME find it")
    ] = None,
    rank: Annotated[str, typer.Option(help="whose shares are printed: half | energy:x | an integer")] = "half",
    shrinkage: Annotated[float, typer.Option(help="how much an average direction of the others counts")] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an --out that is already there")] = False,
    as_json: Json = False,
) -> None:
    """Save the directions of one capability that others do not share, as a capture that all commands take."""
    from spd_core.subspace import contrast as engine
    from spd_core.subspace.contrast_verdict import held_by
    from spd_core.subspace.spectrum import choose_rank
    from spd_core.subspace.store import capture_at, captures_folder, save_capture

    found, others = capture_at(of), [capture_at(one) for one in without]
    place = out or captures_folder() / new_name(engine.name_of(found, others))
    refuse_existing(place, overwrite)
    with bars() as bar:
        made = engine.contrast(found, others, shrinkage=shrinkage, name=place.name, tell=bar)
    record = made.provenance
    held = {
        site.label: held_by(one, choose_rank(rank, one.values, dtype=record.dtype)[0])
        for site, one in made.sites.items()
    }
    save_capture(made, place, overwrite)
    shares = {
        label: {name: round(value, 4) for name, value in vars(one).items() if value is not None}
        for label, one in held.items()
    }
    result = {"out": str(place), "capture": place.name, "capability": record.capability, "layers": made.layers}
    print_result({**result, "held": shares}, as_json)
