"""`python -m spd_core library|bundle|import|replay`: what is kept here, how it is handed on, and
whether its numbers hold. No page is needed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spd_core.cli.console import Json, bars, print_result

if TYPE_CHECKING:
    from spd_core.library.replay_report import ReplayRow

Things = Annotated[list[str], typer.Argument(help="what to hand on, as `library` lists it: KIND:NAME")]
DIFFERS = 9
"""Exit code where a number differs from what was recorded."""
Bundle = Annotated[Path, typer.Argument(help="a bundle, .zip")]


def add_commands(app: typer.Typer) -> None:
    """Add them to the others."""
    app.command("library")(library_command)
    app.command("bundle")(bundle_command)
    app.command("import")(import_command)
    app.command("replay")(replay_command)


def library_command(
    recorded: Annotated[bool, typer.Option("--recorded", help="what comes with SPD Lab, too")] = False,
    as_json: Json = False,
) -> None:
    """List everything that is kept on this machine, of all models, the newest first."""
    from spd_core.library.shelf import read_shelf
    from spd_core.text import shown

    shelf = read_shelf()
    things = {
        str(ref): {
            "title": one.title,
            "model": one.model,
            "made": one.made,
            "bytes": one.size,
            "stands_on": [str(other) for other in one.stands_on],
            "gone": [str(other) for other in shelf.missing(one)],
            "problem": one.problem,
        }
        for ref, one in shelf.things.items()
        if recorded or not one.recorded
    }
    lines = {name: shown(f"{one['title']} · {one['bytes']:,} bytes {one['problem']}") for name, one in things.items()}
    print_result(things if as_json else lines or {"library": "empty"}, as_json)


def bundle_command(
    things: Things,
    out: Annotated[Path | None, typer.Option(help="the zip; by default a new one in SPD_HOME/exports")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an --out that is already there")] = False,
    as_json: Json = False,
) -> None:
    """Write things, with all that they stand on, into one zip that another SPD Lab can import and check."""
    from spd_core.library.bundle import write_bundle
    from spd_core.library.incoming import check_bundle
    from spd_core.library.things import ref_from

    path = write_bundle([ref_from(one) for one in things], out, overwrite=overwrite)
    held = [one.thing for one in check_bundle(path).manifest.things]
    print_result({"out": str(path), "bytes": path.stat().st_size, "things": held}, as_json)


def import_command(
    bundle: Bundle,
    check: Annotated[bool, typer.Option("--check", help="look at it alone; keep nothing")] = False,
    as_json: Json = False,
) -> None:
    """Check a bundle, and bring in what is not here yet. Nothing in it is run."""
    from spd_core.library.incoming import check_bundle, import_bundle

    found = check_bundle(bundle) if check else import_bundle(bundle)
    said = {str(one.ref): one.said if check or one.arrives != "new" else "brought in" for one in found.arrivals}
    print_result({"bundle": str(bundle), "written_by": f"SPD Lab {found.manifest.spd_lab}", **said}, as_json)


def replay_command(
    what: Annotated[str, typer.Argument(help="a bundle, .zip; or a thing, as `library` lists it: KIND:NAME")],
    model: Annotated[str, typer.Option(help="where the recorded model lies here, if under another name")] = "",
    as_json: Json = False,
) -> None:
    """Compute the numbers of a thing, or of all in a bundle, anew; say which match, within what tolerance and why.

    A bundle is not brought in for that. Exit code 9 where a number differs.
    """
    from dataclasses import asdict

    from spd_core.library.replay import replay
    from spd_core.library.things import ref_from
    from spd_core.models.loading import quiet

    path = Path(what).expanduser()
    quiet()
    with bars() as bar:
        report = replay(path if path.is_file() else ref_from(what), model=model, tell=bar)
    if as_json:
        print_result({**asdict(report), "said": report.sentence}, as_json)
    else:
        lines = {f"{row.verdict}: {row.thing}, {row.what}": _told(row) for row in report.rows}
        around = {one.what: f"{one.recorded or 'not noted'} then, {one.here} here" for one in report.surroundings}
        print_result({**lines, **around, "replay": report.sentence}, as_json)
    if report.count("differs"):
        raise typer.Exit(DIFFERS)


def _told(row: "ReplayRow") -> str:
    """A row in one line."""
    numbers = (
        f"{row.recorded} then, {row.recomputed} now, off by {row.difference}" if row.difference else row.recomputed
    )
    within = f" (within {row.tolerance})" if row.tolerance else ""
    return "; ".join(part for part in (f"{numbers}{within}", row.reason) if part)
