"""The command `harness`: a subject's answers to tasks of lm-evaluation-harness, as one JSON file. Imports no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from spd_core.cli.console import Json, bars, print_result
from spd_core.cli.lanes import open_lane, parse_kinds, parse_numbers
from spd_core.data.capability import Style
from spd_core.errors import InputError
from spd_core.recipes.lanes import LaneSpec
from spd_core.storage import refuse_existing, to_json, write_text


def harness(
    tasks: Annotated[str, typer.Option(help="comma-separated names of its tasks, groups or tags: arc_easy,gsm8k")],
    out: Annotated[Path, typer.Option(help="JSON file for all that it reports")],
    include_path: Annotated[
        Path | None, typer.Option(help="folder of tasks of your own (YAML); Python that they name is run")
    ] = None,
    model: Annotated[str, typer.Option(help="builtin, gemma, a Hugging Face id, or a local folder")] = "builtin",
    revision: Annotated[str | None, typer.Option(help="branch, tag or commit of a Hugging Face id")] = None,
    subspace: Annotated[str | None, typer.Option(help="a capture, folder or name: project into its subspace")] = None,
    rank: Annotated[str | None, typer.Option(help="half | energy:x | an integer; else as it was captured")] = None,
    strength: Annotated[float, typer.Option(help="α: 0 is raw, 1 the paper's hard projection")] = 1.0,
    kinds: Annotated[str, typer.Option(help="what is projected: key, value, or both")] = "key,value",
    layers: Annotated[str | None, typer.Option(help="i,j (0-based): of the subspace's layers, these alone")] = None,
    complement: Annotated[bool, typer.Option("--complement", help="project out of it instead (a control)")] = False,
    random: Annotated[
        int | None, typer.Option(metavar="SEED", help="a random subspace of the same ranks instead (a control)")
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="RUN/ARM of distill, or a folder: tune by it")] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="auto: bfloat16 where native, else float32")
    ] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="the first N items of each task alone")] = None,
    num_fewshot: Annotated[int | None, typer.Option(min=0, help="worked examples; else as the task says")] = None,
    prompt_style: Annotated[Style, typer.Option(help="the prompt as it stands, or in the chat template")] = "raw",
    batch_size: Annotated[int, typer.Option(min=1, help="prompts in a batch")] = 8,
    seed: Annotated[int | None, typer.Option(help="of examples and sampling; else the harness' own")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an --out that is already there")] = False,
    as_json: Json = False,
) -> None:
    """Evaluate a model, projected or tuned or neither, on tasks of EleutherAI's lm-evaluation-harness."""
    refuse_existing(out, overwrite)
    if subspace is None and (
        rank or complement or random is not None or layers or (strength, kinds) != (1.0, "key,value")
    ):
        raise InputError(
            "--rank, --strength, --kinds, --layers, --complement and --random are of a projection; add --subspace DIR"
        )
    from spd_core.evaluation.harness import check_tasks, harness_results

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    spec = LaneSpec(
        of="none" if subspace is None else "capability" if random is None else "random",
        complement=complement,
        kinds=parse_kinds(kinds),
        layers=parse_numbers(layers),
        rank=rank or "",
        strength=strength,
        seed=random or 0,
        adapter=adapter or "",
    )
    lane = open_lane(spec, "lane", subspace)
    check_tasks(names, include_path)
    with bars() as bar:
        from spd_core.models.loading import load, quiet

        quiet()
        lm = load(model, revision, dtype, bar, purpose="generation", rows=batch_size)
    found = harness_results(
        lm,
        lane,
        names,
        include_path=include_path,
        limit=limit,
        batch_size=batch_size,
        num_fewshot=num_fewshot,
        prompt_style=prompt_style,
        seed=seed,
    )
    write_text(out, to_json(found), overwrite)
    print_result({"out": str(out), "lane": found["spd_lab"]["lane"], **_metrics(found, as_json)}, as_json)


def _metrics(found: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """For each task and group: its metrics, with standard errors and the number of items."""
    if as_json:
        return {"results": found["results"], "n-samples": found["n-samples"]}
    lines = {}
    for task, row in found["results"].items():
        n = found["n-samples"].get(task, {}).get("effective", row.get("sample_len"))
        values = [name for name, value in row.items() if isinstance(value, float) and "_stderr" not in name]
        said = []
        for name in values:
            metric, _, how = name.partition(",")
            error = row.get(f"{metric}_stderr,{how}")
            deviation = f" ± {error:.4f}" if isinstance(error, float) else ""
            said.append(f"{metric}{'' if how in ('', 'none') else f' ({how})'} {row[name]:.4f}{deviation}")
        shots = found["n-shot"].get(task, 0)  # a task that sets 0 keeps it, whatever was asked
        spread = ", ± one standard error" if any("±" in one for one in said) else ""
        lines[task] = f"{', '.join(said)} (n = {n}, {shots}-shot{spread})"
    return lines
