"""`python -m spd_core COMMAND`: the engine from a shell. Progress on stderr, results on stdout or in `--out`.

Exit codes: 0 done, 1 unexpected, 2 bad input, 3 model refused, 4 does not fit in memory, 5 nothing usable
captured, 6 disk refused, 7 training cannot go on, 8 no inference engine, 130 interrupted.
"""

import dataclasses
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer
from typer.exceptions import TyperException

from spd_core.cli import contrast, harness, library, notes, runs
from spd_core.cli import study as study_command
from spd_core.cli import table as table_command
from spd_core.cli.console import INTERRUPTED, Json, bars, print_result
from spd_core.cli.lanes import open_lanes
from spd_core.cli.models import models_command
from spd_core.data.capability import Loss, Style
from spd_core.errors import InputError, SpdError, StorageError
from spd_core.progress import Progress, Tell, silent
from spd_core.storage import private_home, refuse_existing, write_text

if TYPE_CHECKING:
    from spd_core.generation.decode import Completion
    from spd_core.models.loading import LanguageModel

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16"]
DemoPart: TypeAlias = Literal["captures", "probes", "audits", "runs"]
app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None
)


ModelOption = Annotated[str, typer.Option(help="builtin, gemma, a Hugging Face id, or a local folder")]
Revision = Annotated[str | None, typer.Option(help="branch, tag or commit of a Hugging Face id")]
DtypeOption = Annotated[Dtype, typer.Option(help="auto: bfloat16 where the device has it natively, else float32")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an --out that is already there")]
Rank = Annotated[str | None, typer.Option(help="half | energy:x | an integer; else as it was captured")]
Alpha = Annotated[float, typer.Option(help="α: 0 is raw, 1 the paper's hard projection")]
Gains = Annotated[
    str | None,
    typer.Option(help="of the lane mixed: 29v_1x0_3x2 is layer 29 values, direction 1 times 0, direction 3 times 2"),
]


@app.command("capture")
def capture_command(
    capability: Annotated[str, typer.Option(help="a built-in name, a public data set, or a .jsonl file")],
    out: Annotated[
        Path | None, typer.Option(help="folder for the capture; by default where the app and --subspace NAME find it")
    ] = None,
    model: ModelOption = "builtin",
    revision: Revision = None,
    data: Annotated[Path | None, typer.Option(help="local JSONL with the data set's columns")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="use the first N examples")] = None,
    layers: Annotated[str, typer.Option(help="middle,last | all | i,j (0-based)")] = "middle,last",
    loss: Annotated[Loss, typer.Option(help="tokens of the loss; solution is for code")] = "aligned",
    rank: Annotated[str, typer.Option(help="of the subspace: half | energy:x | an integer")] = "half",
    center: Annotated[bool, typer.Option("--center/--no-center", help="subtract the mean gradient")] = True,
    per_head: Annotated[bool, typer.Option("--per-head", help="one basis per KV head")] = False,
    prompt_style: Annotated[Style, typer.Option(help="raw template or the model's chat template")] = "raw",
    dtype: DtypeOption = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="examples in a batch; does not change the result")] = 8,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Capture a capability's gradients and save them with the subspace they span."""
    from spd_core.data.catalog import find_whole
    from spd_core.recipes.capture import CaptureSettings
    from spd_core.runs.parallel import together
    from spd_core.storage import new_name
    from spd_core.subspace import pipeline, subspace
    from spd_core.subspace.store import captures_folder, save_capture

    peers = together()
    place = out or captures_folder() / peers.from_first(lambda: new_name(Path(capability).stem))
    refuse_existing(place, overwrite)
    settings = CaptureSettings(
        layers=layers, rank=rank, loss=loss, examples=limit, batch_size=batch_size, center=center
    )
    found = find_whole(capability, data)
    with bars() as bar:
        tell = bar if peers.first else silent
        lm = _load(model, revision, dtype, tell, purpose="capture", layers=layers, batch_size=batch_size)
        analysis = pipeline.capture(lm, found, settings, prompt_style, name=place.name, tell=tell, peers=peers)
    fitted = subspace.subspace_of(analysis, rank, per_head=per_head, cap=False)
    whole = dataclasses.replace(analysis, provenance=fitted.provenance)
    peers.from_first(lambda: save_capture(whole, place, overwrite))
    if peers.first:
        print_result({"out": str(place), "capture": place.name, **fitted.provenance.model_dump(mode="json")}, as_json)


@app.command("generate")
def generate_command(
    prompts: Annotated[Path, typer.Option(help="JSONL; every row has a prompt")],
    out: Annotated[Path, typer.Option(help="JSONL with prompt, lane, completion")],
    model: ModelOption = "builtin",
    revision: Revision = None,
    subspace: Annotated[str | None, typer.Option(help="a capture: its folder, or its name")] = None,
    rank: Rank = None,
    lanes: Annotated[str, typer.Option(help="comma-separated: raw, projected, complement, mixed")] = "raw,projected",
    strength: Alpha = 1.0,
    gains: Gains = None,
    prompt_style: Annotated[
        Style, typer.Option(help="raw: the prompt as it stands; chat: in the model's template")
    ] = "raw",
    dtype: DtypeOption = "auto",
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.7,
    top_p: Annotated[float, typer.Option(help="1 keeps every token")] = 0.9,
    max_new_tokens: Annotated[int, typer.Option(help="longest completion")] = 256,
    seed: Annotated[int, typer.Option(help="of the sampling noise")] = 0,
    independent: Annotated[bool, typer.Option("--independent", help="noise of its own for every lane")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="prompts in a batch")] = 8,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Continue prompts in one or more lanes."""
    refuse_existing(out, overwrite)
    from spd_core.data.capability import QUESTION, Settings, read_jsonl
    from spd_core.data.spans import generation_prompt
    from spd_core.generation import decode

    texts = [_prompt_of(row, prompts, number) for number, row in read_jsonl(prompts)]
    if not texts:
        raise InputError(f'{prompts} holds no prompt; add rows such as {{"prompt": "2 + 2 ="}}')
    sampling = decode.Sampling(temperature, top_p, max_new_tokens, seed, not independent)
    chosen = open_lanes(lanes, subspace, strength, rank, gains)

    def on_step(completions: "list[Completion]") -> None:
        shares = [1.0 if c.finish else len(c.tokens) / max_new_tokens for c in completions]
        bar(Progress(sum(shares), len(shares), "Writing"))

    chat = prompt_style == "chat"
    with bars() as bar:
        at_once = min(batch_size, len(texts)) * len(chosen)
        lm = _load(model, revision, dtype, bar, purpose="generation", rows=at_once, new_tokens=max_new_tokens)
        settings = Settings(capability="prompts", template=QUESTION)
        ready = [generation_prompt(text, settings, "chat", lm.tokenizer)[0] if chat else text for text in texts]
        completions = decode.generate(
            lm, ready, chosen, sampling, special_tokens=not chat, batch_size=batch_size, on_step=on_step
        )
    rows = [
        {"prompt": text, "lane": lane.lane.name, "completion": lane.text, "finish": lane.finish}
        for text, lane in zip((text for text in texts for _ in chosen), completions, strict=True)
    ]
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), overwrite)
    print_result(
        {"out": str(out), "prompts": len(texts), "lanes": [lane.name for lane in chosen], "rows": len(rows)}, as_json
    )


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="folder for the checkpoint")],
    subspace: Annotated[str | None, typer.Option(help="a capture, folder or name, whose subspace is folded in")] = None,
    rank: Rank = None,
    adapter: Annotated[str | None, typer.Option(help="RUN/ARM of distill, or a folder, to be merged")] = None,
    peft: Annotated[bool, typer.Option("--peft", help="the adapter by itself, as peft and hubs take it")] = False,
    model: ModelOption = "builtin",
    revision: Revision = None,
    strength: Alpha = 1.0,
    gains: Gains = None,
    dtype: DtypeOption = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Save the model with a projection folded, or an adapter merged, into its weights, as an ordinary checkpoint.

    With --peft: the adapter's own files with their card, to be published or loaded by peft.
    """
    refuse_existing(out, overwrite)
    if (subspace is None) == (adapter is None):
        raise InputError("give either --subspace DIR or --adapter RUN/ARM: what goes into the weights")
    if peft:
        _export_adapter(adapter, out, overwrite, as_json)
        return
    from spd_core.intervention.adapters import adapter_at
    from spd_core.intervention.export import export_folded, export_merged
    from spd_core.intervention.model_cards import gguf_command, repo_name, upload_command

    if gains is not None and (subspace is None or strength != 1):
        raise InputError("--gains are of directions of --subspace DIR, and have no --strength: give the former alone")
    lane = "projected" if gains is None else "mixed"
    lanes = open_lanes(lane, subspace, strength, rank, gains) if subspace is not None else []
    tuned = adapter_at(adapter) if adapter is not None else None
    with bars() as bar:
        lm = _load(model, revision, dtype, bar)
        bar(Progress(0.5, 1, "Writing the checkpoint"))
        if tuned is not None:
            export_merged(lm, tuned, out, overwrite)
        else:
            export_folded(lm, lanes[0], out, overwrite)
        bar(Progress(1, 1, "Writing the checkpoint"))
    what = {"adapter": adapter} if tuned is not None else {"strength": strength} if gains is None else {"gains": gains}
    then = {"publish": upload_command(repo_name(out.name), str(out)), "to_gguf": gguf_command(str(out))}
    print_result({"out": str(out), "model": lm.name, "revision": lm.revision, **what, **then}, as_json)


def _export_adapter(adapter: str | None, out: Path, overwrite: bool, as_json: bool) -> None:
    from spd_core.intervention.cards import adapter_place, read_card
    from spd_core.intervention.export import export_adapter
    from spd_core.intervention.model_cards import upload_command, upload_name

    if adapter is None:
        raise InputError("--peft exports an adapter by itself; give --adapter RUN/ARM, and no --subspace")
    export_adapter(adapter_place(adapter), out, overwrite)
    publish = upload_command(upload_name(read_card(out)), str(out))
    print_result({"out": str(out), "adapter": adapter, "publish": publish}, as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for the bundle")],
    overwrite: Overwrite = False,
    only: Annotated[
        DemoPart | None, typer.Option(help="record this part; captures bring probes and audits along")
    ] = None,
    as_json: Json = False,
) -> None:
    """Record the bundle that the app opens on, with the built-in model: captures of the built-in capabilities, probes
    of their directions (logit lenses and causal checks), the audits of a small training, and a distillation with its
    evaluation. These two are runs of this machine; when they were stopped, they go on."""
    refuse_existing(out / only if only in ("probes", "audits", "runs") else out, overwrite)
    from spd_core.cli.demo import write_demo
    from spd_core.cli.demo_audits import record_audits
    from spd_core.cli.demo_probes import record_probes
    from spd_core.cli.demo_runs import record_runs

    written: dict[str, str] = {}
    with bars() as bar:
        if only != "runs":
            lm = _load("builtin", None, "float32", bar)
            if only in (None, "captures"):
                written |= write_demo(lm, out, bar, overwrite=overwrite)
            written |= {} if only == "audits" else record_probes(lm, out, bar)
            written |= {} if only == "probes" else record_audits(lm, out, bar)
        if only in (None, "runs"):
            works = {"distillation": runs.carry_out_recipe, "evaluation": table_command.carry_out_evaluation}
            written |= record_runs(out / "runs", works, runs.on_bar(bar))
    print_result({"out": str(out), **written}, as_json)


app.command("models")(models_command)
app.command("contrast")(contrast.contrast_command)
app.command("notes")(notes.notes_command)
app.command()(runs.distill)
app.command()(runs.runs)
app.command()(table_command.table)
app.command()(study_command.study)
app.command()(harness.harness)
library.add_commands(app)


def _load(name: str, revision: str | None, dtype: Dtype, bar: Tell, **needs: Any) -> "LanguageModel":
    from spd_core.models.loading import load, quiet

    quiet()
    return load(name, revision, dtype, bar, **needs)


def _prompt_of(row: dict[str, Any], path: Path, number: int) -> str:
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise InputError(f'{path}, line {number}: no text under "prompt"; write {{"prompt": "…"}}')
    return prompt


def main() -> None:
    """Run the command; every expected error becomes one line on stderr and its exit code."""
    # Read when torch loads. Threads that spin while they wait gain 10% on an idle machine, and on a busy one lose
    # a factor of 2.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with suppress(StorageError):  # a command that writes there says it
        private_home()
    try:
        code = app(standalone_mode=False)
    except TyperException as error:  # a wrong option: typer's own words
        print(f"error: {error.format_message()}", file=sys.stderr)
        sys.exit(InputError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SpdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if code == INTERRUPTED:  # typer turns Ctrl+C into this code, and returns it
        print("interrupted; nothing was written, and what was there is unchanged", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
