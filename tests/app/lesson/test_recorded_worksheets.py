"""The worksheets in `docs/teaching`: their numbers are those of the recorded demo, recomputed here from its arrays."""

import re
from pathlib import Path

import numpy as np
import pytest

from app.jobs.captures import load_saved
from app.lesson.screens import STEPS
from spd_core.attribution.recorded import probes_of
from spd_core.evaluation import repeats
from spd_core.evaluation.table import Table, read_table
from spd_core.generation import comparison
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import recorded_runs
from spd_core.subspace.spectrum import Floats
from tests import ROOT

TEACHING = ROOT / "docs" / "teaching"
SIXTY = "60-minutes.md"
SHEETS = sorted(TEACHING.glob("*-minutes.md"))


def solution(sheet: str, number: int) -> str:
    """One solution of a sheet, in one line."""
    text = (TEACHING / sheet).read_text("utf-8").partition("## Solutions")[2]
    found = re.search(rf"^{number}\. (.*?)(?=^\d+\. |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found
    return " ".join(found[1].split())


def bold(number: int, sheet: str = "30-minutes.md") -> list[str]:
    """The numbers on screen that a solution names."""
    return re.findall(r"\*\*([^*]*\d[^*]*)\*\*", solution(sheet, number))


def recorded_table() -> Table:
    run = next(run for run in recorded_runs() if isinstance(run.record.recipe, EvaluationRecipe))
    return read_table(run.record.evaluation, run.folder)


def test_the_tokens() -> None:
    analysis = load_saved("arithmetic")
    first = analysis.examples[0]
    loss = sum(len(one.supervised) for one in analysis.examples)
    tokens = sum(len(one.ids) for one in analysis.examples)
    assert bold(1) == [str(len(first.supervised)), str(len(first.ids)), str(len(analysis.examples)), str(loss),
                       f"{tokens:,}"]  # fmt: skip
    assert round(tokens / loss) == 15, "one in fifteen"


def test_values_and_gradients() -> None:
    analysis = load_saved("arithmetic")
    found, first = analysis.sites[analysis.site(29, "value")], analysis.examples[0]
    kept = found.coordinates
    assert kept is not None
    assert kept.lengths is not None
    n = len(first.ids)
    gradient, value = kept.lengths.astype(float)[:, :n]  # the tokens of the first text come first
    along = kept.activation.astype(float)[:n]
    token = first.supervised[0]
    share = (along[token] ** 2).sum() / value[token] ** 2
    assert bold(2) == [str(len(found.values)), str(along.shape[1]), f"{share:.0%}"]
    assert np.abs(along).max(1).argmin() == 0, "the bars are shortest at token 0"

    energy = gradient**2
    assert bold(3) == [f"{energy[t] / energy.sum():.0%}" for t in (0, *first.supervised)]
    assert first.supervised == (34, 35) or list(first.supervised) == [34, 35]
    most = 1 + int(energy[1:].argmax())
    assert bold(4) == [str(most), f"{energy[most] / energy[1:].sum():.0%}"]
    assert most not in first.supervised
    assert first.text[slice(*first.offsets[most])] == " "


def test_directions_and_projection() -> None:
    analysis = load_saved("arithmetic")
    found = analysis.sites[analysis.site(29, "value")]
    energy = found.values**2 / (found.values**2).sum()
    assert bold(5) == [f"{energy[0]:.1%}", f"{energy[1]:.1%}"]

    kept = found.coordinates
    assert kept is not None
    assert kept.lengths is not None
    along = kept.activation.astype(float)
    outside = np.sqrt(kept.lengths[1].astype(float) ** 2 - (along**2).sum(1)).mean()
    assert bold(6) == [f"{left * outside:.2f}" for left in (1, 0.5, 0)]


def test_texts() -> None:
    found = [comparison.read_comparison(comparison.find_comparison(name)) for name in comparison.recorded_ids()]
    mine = [[lane.text for lane in one.lanes[:3]] for one in found if one.analysis == "arithmetic"]
    assert bold(7) == [str(len(mine)), *(str(sum(one[at] != one[0] for one in mine)) for at in (1, 2))]


def test_whether_it_helped() -> None:
    told = []
    for name in ("arithmetic", "multiple-choice"):
        difference = recorded_table().claims["spd", name].difference
        told += [difference.effect, difference.interval.low, difference.interval.high]
    expected = [f"{100 * one:+.1f}".replace("-", "−") for one in told]
    assert bold(8) == [*expected, "100"]


@pytest.mark.parametrize("sheet", SHEETS, ids=[path.stem for path in SHEETS])
def test_every_task_has_a_solution_and_every_link_a_file(sheet: Path) -> None:
    text = sheet.read_text("utf-8")
    tasks, _, solutions = text.partition("## Solutions")
    numbers = [re.findall(r"^(\d+)\. ", part, re.MULTILINE) for part in (tasks.partition("## Tasks")[2], solutions)]
    assert numbers[0] == numbers[1] == [str(at + 1) for at in range(len(numbers[0]))]
    minutes = [int(found) for found in re.findall(r"^\| (\d+) \|", tasks, re.MULTILINE)]
    assert sum(minutes) == int(sheet.stem.partition("-")[0])
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (TEACHING / link).is_file()


def test_the_thirty_minutes_name_the_steps_as_the_page_does() -> None:
    text = (TEACHING / "30-minutes.md").read_text("utf-8")
    for at, step in enumerate(STEPS, 1):
        assert f"| {at} {step.title} |" in text


# --- the 60 minutes ----------------------------------------------------------------------------------------------


def needed(values: Floats) -> int:
    """How many directions hold 90% of the energy."""
    return 1 + int(np.searchsorted(np.cumsum(values**2) / (values**2).sum(), 0.9))


def test_spectrum_and_where_directions_come_from() -> None:
    analysis = load_saved("arithmetic")
    found = analysis.sites[analysis.site(29, "value")]
    assert bold(1, SIXTY) == [str(needed(found.values)), str(needed(found.nulls["shuffled answers"]))]

    assert found.coordinates is not None
    energy = found.coordinates.gradient.astype(float) ** 2
    share = energy / energy.sum(0)
    texts = [one.text[a:b] for one in analysis.examples for a, b in one.offsets]
    colons = np.array([text == ":" for text in texts])
    first = analysis.position_of == 0
    assert bold(3, SIXTY) == [f"{share[first, 0].sum():.0%}", f"{share[colons, 0].sum():.1%}", str(colons.sum())]
    loss = np.concatenate([np.isin(np.arange(len(one.ids)), one.supervised) for one in analysis.examples])
    assert bold(4, SIXTY) == [f"{share[loss, 2].sum():.0%}"]


def test_causal_check_repeats_and_evaluation() -> None:
    analysis = load_saved("arithmetic")
    probes = probes_of(analysis)
    assert probes is not None
    unchanged, removed = probes.passes[analysis.site(29, "value").name][0][:2].astype(float)
    assert bold(5, SIXTY) == [f"{(removed - unchanged).mean():.3f}"]

    (path,) = [path for path in repeats.repeat_files() if repeats.read_repeat(path).analysis == "arithmetic"]
    texts = [text for prompt in repeats.read_repeat(path).prompts for text in prompt.texts]
    raw, projected, random = (str(sum(bool(lanes[at].right) for lanes in texts)) for at in range(3))
    assert bold(6, SIXTY) == [raw, str(len(texts)), projected, random]

    table = recorded_table()
    claim = table.claims["projected-random", "arithmetic"]
    told = (claim.difference.effect, claim.difference.interval.low, claim.difference.interval.high)
    expected = [f"{100 * one:+.1f}".replace("-", "−") for one in told]
    assert bold(8, SIXTY) == [*expected, str(len(table.claims)), f"{claim.p_adjusted:.3f}"]


def test_the_ninety_minutes_name_the_spectrum_of_the_other_capture() -> None:
    analysis = load_saved("multiple-choice")
    found = analysis.sites[analysis.site(29, "value")]
    assert bold(3, "90-minutes.md") == [str(needed(found.values)), str(needed(found.nulls["shuffled answers"]))]
