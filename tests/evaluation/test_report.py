"""What a table says in each form; whatever a model, a file or a user calls something stays text."""

import csv
import io
import re
from pathlib import Path

import pytest

from spd_core.evaluation.latex import to_latex
from spd_core.evaluation.paper import FIGURES, reported
from spd_core.evaluation.report import (
    control_text,
    diagnostics,
    frame,
    grid,
    long_rows,
    notes,
    to_markdown,
    write_reports,
)
from spd_core.evaluation.table import Column, Table, read_table
from spd_core.recipes.evaluation import NAMED, evaluation_from
from tests.cells import likelihoods, put, records

BASE, BETTER = [1, 0, 0, 0, 0] * 12, [1, 1, 1, 0, 0] * 12


@pytest.fixture
def table(tmp_path: Path) -> Table:
    put(tmp_path, "base", records(BASE), unfit=3)
    put(tmp_path, "spd", records(BETTER), unfit=3, seen=2)
    put(tmp_path, "base", likelihoods([1, 2, 3, 4, 5, 6]), set_name="code", scorer="nll")
    put(tmp_path, "spd", likelihoods([1, 2, 3, 4, 5, 6]), set_name="code", scorer="nll")
    return read_table(
        evaluation_from({"subjects": ["base", "spd", "random"], "sets": ["arithmetic", "code"]}), tmp_path
    )


def test_the_grid_says_value_interval_difference_and_headline(table: Table) -> None:
    base, spd, random = grid(table)
    assert base["Arithmetic"] == "20.0% (11.8 to 31.8)"  # Wilson for 12 of 60
    assert re.fullmatch(r"60\.0% \(47\.4 to 71\.4\) \+40\.0 points ▲ helps, not all controls run", spd["Arithmetic"])
    assert spd["Code"].endswith(" 0.000 nats · not shown")
    assert (random["Arm"], random["Arithmetic"], random["Code"]) == ("Random subspace", "–", "–")


def test_long_rows_have_a_row_for_each_cell_with_all_numbers(table: Table) -> None:
    rows = long_rows(table)
    assert [(row["subject"], row["set"]) for row in rows] == [
        ("Base", "Arithmetic"), ("Base", "Code"), ("SPD", "Arithmetic"), ("SPD", "Code")]  # fmt: skip
    spd = rows[2]
    assert (spd["n"], spd["gained"], spd["lost"], spd["headline"]) == (60, 24, 0, "helps")
    assert spd["p"] == pytest.approx(2 * 0.5**24)
    assert spd["control: Random subspace"] == "not run"
    read = list(csv.DictReader(io.StringIO(frame(table).to_csv(index=False))))
    assert [float(row["value"]) for row in read] == [row["value"] for row in rows]


def test_notes_say_what_was_left_out_and_what_was_seen(table: Table) -> None:
    said = "\n".join(notes(table))
    assert "n: Arithmetic 60, Code 6." in said
    assert "Arithmetic: 3 items that its scorer cannot score are left out of every subject." in said
    assert "Arithmetic: SPD was calibrated or trained on 2 of these 60 items: for it this is no held-out set." in said
    assert "Holm over 4 comparisons" in said, "two subjects on two sets, of which two are still to come"
    assert "4 of 6 cells are filled so far." in said


def test_notes_do_not_say_of_what_nobody_knows_that_it_was_seen(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE))
    put(tmp_path, "spd", records(BETTER), seen=None)
    said = "\n".join(
        notes(read_table(evaluation_from({"subjects": ["base", "spd"], "sets": ["arithmetic"]}), tmp_path))
    )
    assert "Arithmetic: what SPD was trained on is not known, and these 60 items may be among it." in said
    assert "no held-out set" not in said


def test_diagnostics_of_a_likelihood_have_no_format(table: Table) -> None:
    rows = diagnostics(table)
    assert rows[0]["Ended by themselves"] == "100%"
    assert {rows[1][name] for name in ("Ended by themselves", "Answer could be read")} == {"–"}


def test_controls_in_words(table: Table) -> None:
    found = table.claims["spd", "arithmetic"]
    assert control_text(found.controls[0], False) == "Random subspace: not run; does any projection do it?"


def test_a_control_that_cannot_decide_says_by_which_rule(tmp_path: Path) -> None:
    right = {"base": 0, "projected": 9, "projected-random": 4}  # 5 gained beyond the control: p = 2 / 2⁵
    for name, count in right.items():
        put(tmp_path, name, records([1] * count + [0] * (20 - count)))
    found = read_table(evaluation_from({"subjects": list(right), "sets": ["arithmetic"]}), tmp_path)
    text = control_text(found.claims["projected", "arithmetic"].controls[0], False)
    assert text.startswith("Projected, random subspace: not shown, +25.0 points (+")
    assert text.endswith(
        "), p = 0.0625, n = 20; passed needs an interval above zero and p < 0.05; does any projection do it?"
    )
    assert grid(found)[1]["Arithmetic"].endswith("▲ helps, not shown to be better than every control")
    for form in (to_markdown(found), to_latex(found)):
        assert "Projected, random subspace: not shown, +25.0 points" in form
        assert "p = 0.0625" in form
    row = long_rows(found)[1]
    assert row["control: Projected, random subspace"] == "not shown"
    assert row["control p: Projected, random subspace"] == 0.0625


def test_markdown_has_tables_claims_controls(table: Table) -> None:
    text = to_markdown(table)
    assert text.startswith("| Arm | Arithmetic | Code |\n| --- | --- | --- |\n| Base | 20.0% (11.8 to 31.8) |")
    assert "- **helps**: On Arithmetic, SPD helps compared with Base: +40.0 percentage points" in text
    assert "control Random subspace: not run" in text


def test_latex_compiles_to_rows_with_escaped_signs(table: Table) -> None:
    text = to_latex(table)
    assert r"\toprule" in text
    assert r"20.0\% (11.8 to 31.8)" in text
    assert not re.search(r"(?<!\\)%", text), "a bare % would make the rest of a line a comment"


def test_markdown_escapes_every_name(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE), title="<img src=x onerror=alert(1)>")
    found = read_table(evaluation_from({"subjects": ["base"], "sets": ["arithmetic"]}), tmp_path)
    marked = to_markdown(found)
    assert "<img" not in marked.replace("\\<", "")


def test_an_empty_table_says_so(tmp_path: Path) -> None:
    found = read_table(evaluation_from({"subjects": ["base"], "sets": ["arithmetic"]}), tmp_path)
    assert "0 of 1 cells are filled so far." in to_markdown(found)
    assert frame(found).empty


def test_reports_are_written_into_the_run(tmp_path: Path) -> None:
    recipe = evaluation_from({"subjects": ["base"], "sets": ["arithmetic"]})
    put(tmp_path, "base", records(BASE))
    write_reports(recipe, tmp_path)
    assert (tmp_path / "table.md").read_text() == to_markdown(read_table(recipe, tmp_path))
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2


# --- the paper -----------------------------------------------------------------------------------------------


def test_the_paper_stands_beside_its_own_model_alone(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE), set_name="gsm8k")
    settings = {"subjects": ["base", "spd", "projected"], "sets": ["gsm8k"]}
    own = read_table(evaluation_from({**settings, "model": "Qwen/Qwen2.5-0.5B-Instruct"}), tmp_path)
    rows = grid(own)
    assert [row["Arm"] for row in rows[3:]] == ["Paper: Base (n = 100)", "Paper: SPD (n = 100)"]
    assert [row["Gsm8k"] for row in rows[3:]] == ["11.0%", "22.0%"]
    assert any("The paper's figures are of Qwen2.5-0.5B-Instruct" in note for note in notes(own))
    assert len(grid(read_table(evaluation_from(settings), tmp_path))) == 3


def test_the_papers_figures_are_the_published_ones(datasets_folder: Path) -> None:
    """Read out of the table of the method's description."""
    lines = (datasets_folder.parent / "method.md").read_text().splitlines()
    head = next(line for line in lines if "MBPP" in line and "CodeAlpaca NLL" in line)
    columns = [name.split()[0].lower() for name in head.strip("|").split("|")[1:]]
    names = {"base": "base", "PSR": "psr", "SSD": "ssd", "SPD": "spd", "SPD, full-sequence loss": "full"}
    found = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in names and len(cells) == len(columns) + 1 and re.fullmatch(r"[\d.]+", cells[1]):
            found[names[cells[0]]] = dict(zip(columns, map(float, cells[1:]), strict=True))
    assert found == FIGURES


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-0.5B-Instruct", "/models/Qwen2.5-0.5B-Instruct/"])
def test_the_model_is_known_by_its_name(model: str) -> None:
    svamp = Column("a name of one's own", "Word problems", "svamp", in_domain=False, likelihood=False)
    assert reported(model, NAMED["spd"], svamp) == 32.0
    assert reported(model, NAMED["projected"], svamp) is None
    assert reported("Qwen/Qwen2.5-1.5B-Instruct", NAMED["spd"], svamp) is None


def test_the_papers_figure_stands_in_chart_and_table_whatever_the_set_is_called(tmp_path: Path) -> None:
    from app.evaluation.score_charts import scores

    asked = evaluation_from({
        "model": "Qwen/Qwen2.5-0.5B-Instruct", "subjects": ["base"],
        "sets": [{"capability": "svamp", "label": "Word problems"}],
    })  # fmt: skip
    put(tmp_path, "base", records(BASE), set_name=asked.sets[0].name)
    table = read_table(asked, tmp_path)
    assert any("16.0" in value for row in grid(table) for value in row.values())
    drawn = [x for trace in scores(table, False).data if "aper" in (trace.name or "") for x in trace.x]
    assert drawn == [16.0]


def test_latex_escapes_the_caption_too(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE), title=r"a_b & 5% {c} \x ^~#$")
    text = to_latex(read_table(evaluation_from({"subjects": ["base"], "sets": ["arithmetic"]}), tmp_path))
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
    assert r"a\_b \& 5\% \{c\} \textbackslash{}x \textasciicircum{}\textasciitilde{}\#\$ 60" in caption


def test_sets_of_one_title_stay_apart(tmp_path: Path) -> None:
    for name, right in (("arithmetic", BASE), ("code", BETTER)):
        put(tmp_path, "base", records(right), set_name=name, title="Sums")
    found = read_table(evaluation_from({"subjects": ["base"], "sets": ["arithmetic", "code"]}), tmp_path)
    (row,) = grid(found)
    assert row["Sums (arithmetic)"].startswith("20.0%")
    assert row["Sums (code)"].startswith("60.0%")


def test_a_spreadsheet_reads_no_formula(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE), title='=HYPERLINK("http://x")')
    found = read_table(evaluation_from({"subjects": ["base"], "sets": ["arithmetic"]}), tmp_path)
    assert frame(found)["set"].tolist() == ['\'=HYPERLINK("http://x")']


def test_a_set_called_like_the_first_column_leaves_it_alone(tmp_path: Path) -> None:
    put(tmp_path, "base", records(BASE), title="Arm")
    (row,) = grid(read_table(evaluation_from({"subjects": ["base"], "sets": ["arithmetic"]}), tmp_path))
    assert row == {"Arm": "Base", "Arm (arithmetic)": "20.0% (11.8 to 31.8)"}


def test_a_gain_brings_its_controls_into_every_form(table: Table) -> None:
    for text in (to_markdown(table), to_latex(table)):
        assert "Controls of SPD on Arithmetic: Random subspace: not run" in text
