"""A Jupyter notebook that reruns the analysis of a capture in a bundle, through names that programs may rely on.

It is written and never run here: whoever unpacks the bundle opens it beside the files that it reads. No path of this
machine is in it. Imports no torch.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from spd_core.models.identity import pinned, public_name
from spd_core.subspace.analysis import Analysis

NOTEBOOK = "notebook.ipynb"
_Cell: TypeAlias = tuple[Literal["markdown", "code"], str]

_SPECTRUM = """\
from spd_core.subspace.spectrum import effective_rank, energy, stable_rank

pd.DataFrame(
    [
        {
            "site": site.label,
            "σ₁": found.values[0],
            "effective rank": effective_rank(found.values),
            "stable rank": stable_rank(found.values),
            "energy of the first 8": energy(found.values)[:8][-1],
        }
        for site, found in analysis.sites.items()
    ]
).set_index("site")"""
_CURVES = """\
import plotly.graph_objects as go

figure = go.Figure(layout={"xaxis_type": "log", "xaxis_title": "direction i", "yaxis_title": "share of the energy"})
for site, found in analysis.sites.items():
    shares = energy(found.values)
    figure.add_scatter(x=np.arange(1, len(shares) + 1), y=shares, name=site.label)
    for null, values in found.nulls.items():
        name = f"{site.label}, {null}"
        figure.add_scatter(x=np.arange(1, len(values) + 1), y=energy(values), name=name, line_dash="dot")
figure"""
_TOKENS = """\
site, found = list(analysis.sites.items())[-1]
ids = analysis.example_of
rows = []
if found.coordinates is not None:
    for token in np.argsort(found.shares(0))[::-1][:12]:
        example = analysis.examples[ids[token]]
        start, end = example.offsets[analysis.position_of[token]]
        rows.append({"text": example.text[start:end], "in": example.id, "share of σ₁²": found.shares(0)[token]})
pd.DataFrame(rows)"""
_AGAIN = """\
lm = load(MODEL, REVISION, record.dtype)
used = {example.id for example in analysis.examples}
calibration = [one for one in analysis.capability.split("calibration").examples if one.id in used]
again = capture(lm, dataclasses.replace(analysis.capability, examples=tuple(calibration)), analysis.settings,
                record.prompt_style)
pd.DataFrame(
    [
        {
            "site": site.label,
            "largest change of a σ, of ‖G‖": np.abs(again.sites[site].values - found.values).max()
            / np.linalg.norm(found.values),
            "shared at half the rank": np.linalg.norm(
                found.vectors[:, : site.d_kv // 2].T @ again.sites[site].vectors[:, : site.d_kv // 2]
            ) ** 2 / (site.d_kv // 2),
        }
        for site, found in analysis.sites.items()
    ]
).set_index("site")"""
_LOAD = "lm = load(MODEL, REVISION, record.dtype)"
_TEXTS = """\
from spd_core.data.spans import generation_prompt

held_out = analysis.capability.split("heldout").examples or analysis.capability.examples
prompt = generation_prompt(held_out[0].prompt, analysis.capability.settings, record.prompt_style, lm.tokenizer)[0]
lanes = [Lane(name="raw"), Lane(subspace_of(analysis), name="projected")]
for written in generate(lm, [prompt], lanes, Sampling(temperature=0.7, top_p=0.9, max_new_tokens=48, seed=0)):
    print(f"--- {written.lane.name}\\n{written.text}")"""


def notebook_of(analysis: Analysis) -> str:
    """The notebook of a capture that lies in `captures/<name>` beside it, as JSON (nbformat 4.5)."""
    cells = [_cell(number, *one) for number, one in enumerate(_cells(analysis))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    found = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _cell(number: int, kind: Literal["markdown", "code"], text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    cell["source"] = text.splitlines(keepends=True)
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}


def _cells(analysis: Analysis) -> Iterator[_Cell]:
    record = analysis.provenance
    yield (
        "markdown",
        (
            f"# {record.capability}: its subspace, again\n\nUnpack the bundle, and start Jupyter in its folder with "
            "the Python of SPD Lab. All below is computed from the files in it; nothing was run when it was written."
        ),
    )
    yield "code", _opening(analysis)
    yield (
        "markdown",
        "## How steep is the spectrum?\n\nOne row for each site; dotted: spectra that should not look alike.",
    )
    yield "code", _SPECTRUM
    yield "code", _CURVES
    yield "markdown", "## Which tokens make the first direction?\n\nThe shares of all tokens sum to 1."
    yield "code", _TOKENS
    if record.left_out is None:
        yield (
            "markdown",
            (
                "## Does it come out again?\n\nThe same model, examples and settings. Only rounding moves the numbers; "
                "`python -m spd_core replay` says how far it may."
            ),
        )
        yield "code", _AGAIN
    else:
        yield "markdown", "## The model\n\nA contrast was made of captures: these are what can be captured again."
        yield "code", _LOAD
    yield "markdown", "## What does the model write inside the subspace?\n\nThe same random numbers for both lanes."
    yield "code", _TEXTS


def _opening(analysis: Analysis) -> str:
    record = analysis.provenance
    name, revision = public_name(record.model, record.revision), pinned(record.model, record.revision)
    return (
        "import dataclasses\nimport os\n\nimport numpy as np\nimport pandas as pd\n\n"
        "from spd_core import Lane, Sampling, capture, capture_at, generate, load, subspace_of\n\n"
        f'MODEL, REVISION = os.environ.get("SPD_MODEL", {name!r}), {revision!r}  # SPD_MODEL: where a folder lies\n'
        f'analysis = capture_at("captures/{analysis.name}")\nrecord = analysis.provenance\n'
        'pd.Series(record.model_dump(include={"model", "revision", "dtype", "capability", "loss", "examples_used", '
        '"tokens", "mean_loss"}), name="recorded")'
    )
