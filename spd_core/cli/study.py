"""The command `study`: carries out a planned study, records it, and says what its announced comparisons show."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spd_core.cli.console import INTERRUPTED, Json, bars, print_result
from spd_core.cli.runs import on_bar
from spd_core.cli.table import carry_out_evaluation
from spd_core.errors import InputError, Stopped
from spd_core.runs.folder import Run
from spd_core.studies.plan import PlannedTable, StudyPlan, read_study


def study(
    plan: Annotated[Path, typer.Argument(help="JSON file, such as assets/studies/spd-replication.json")],
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="this evaluation; may be given several times")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for what is recorded: runs, cells and items, results.md")
    ] = None,
    bundles: Annotated[
        Path | None, typer.Option(help="folder for a bundle of each evaluation: captures, adapters, corpora, answers")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="a recorded folder: say which of its answers are the same here")
    ] = None,
    sliced: Annotated[
        bool, typer.Option("--slice", help="only the part of it that the plan calls its slice: about an hour")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="answer nothing; say what --out holds")] = False,
    as_json: Json = False,
) -> None:
    """Carry out the evaluations of a study, one after the other, and say what was announced beforehand.

    Whatever is finished on this machine is only read: the same command goes on where it was stopped."""
    whole = read_study(plan)
    found = whole.sliced() if sliced else whole
    if report and out is None:
        raise InputError("--report needs --out, the folder that was recorded")
    runs = _recorded(found, out) if report and out is not None else _carried_out(found, only or [])
    if out is not None and not report:
        from spd_core.studies.carrying_out import record_study

        record_study(found, runs, out)
        runs = {**_recorded(found, out), **runs}
    if bundles is not None:
        _hand_on(found, runs, bundles)
    _say(found, runs, out, None if against is None else _recorded(whole, against), as_json)


def _recorded(study: StudyPlan, folder: Path) -> dict[str, Run]:
    from spd_core.studies.carrying_out import recorded_parts

    return recorded_parts(study, folder)


def _carried_out(study: StudyPlan, only: list[str]) -> dict[str, Run]:
    from spd_core.studies.carrying_out import carry_out_study

    def begun(part: PlannedTable) -> None:
        print(f"{part.name}: {part.question}", file=sys.stderr)

    try:
        with bars() as bar:
            return carry_out_study(study, carry_out_evaluation, only=only, begun=begun, show=on_bar(bar))
    except (Stopped, KeyboardInterrupt):
        print("stopped; what was finished is kept. The same command goes on with it", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _hand_on(study: StudyPlan, runs: dict[str, Run], folder: Path) -> None:
    """Write a bundle of each evaluation, with all that it stands on."""
    from spd_core.library.bundle import write_bundle
    from spd_core.library.things import ref_from

    for name, run in runs.items():
        path = write_bundle([ref_from(f"evaluation:{run.id}")], folder / f"{study.name}-{name}.zip", overwrite=True)
        print(f"bundle: {path}", file=sys.stderr)


def _say(
    study: StudyPlan, runs: dict[str, Run], out: Path | None, against: dict[str, Run] | None, as_json: bool
) -> None:
    from spd_core.evaluation.table import read_table
    from spd_core.studies.equal import equal_cells
    from spd_core.studies.findings import findings
    from spd_core.studies.report import finding_rows, study_markdown, write_results

    tables = {name: read_table(run.record.evaluation, run.folder) for name, run in runs.items()}
    found = findings(study, tables)
    if out is not None:
        write_results(study, tables, out)
    same = None if against is None else equal_cells(study, runs, against)
    if as_json:
        result: dict[str, Any] = {"study": study.name, "runs": {name: run.id for name, run in runs.items()}}
        result["primary"] = finding_rows(found)
        print_result(result | ({} if same is None else {"against": same.as_json}), as_json)
        return
    print(study_markdown(study, tables))
    if same is not None:
        print(same.sentence)
