"""A table of arms × sets as text that people take away: for a terminal, Markdown, CSV and LaTeX.

Every form says n, the intervals, the test and the controls. Knows nothing of how the numbers came about.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spd_core.evaluation.budgets import unequal
from spd_core.evaluation.claims import Claim, Control, ControlState, p_text
from spd_core.evaluation.contamination import CONTAMINATED
from spd_core.evaluation.drawn import Drawn, drawn_answers, drawn_sets
from spd_core.evaluation.paper import ITEMS, MODEL, reported
from spd_core.evaluation.statistics import Difference, Interval
from spd_core.evaluation.table import BUDGET, Answered, Column, Table, read_table
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.storage import write_text
from spd_core.text import plain_markdown

if TYPE_CHECKING:
    from pandas import DataFrame

MARKS = {"helps": "▲", "hurts": "▼", "not shown": "·"}
"""Before a headline, so that it is not told by colour alone."""
_WEAKEST: Mapping[ControlState, str] = {
    "failed": "a control failed",
    "not run": "not all controls run",
    "not shown": "not shown to be better than every control",
    "passed": "controls passed",
}


# --- numbers in words --------------------------------------------------------------------------------------------


def shown_value(value: float, likelihood: bool) -> str:
    """`29.4%`, or `0.683 nats`."""
    return f"{value:.3f} nats" if likelihood else f"{100 * value:.1f}%"


def shown_change(value: float, likelihood: bool) -> str:
    """`+3.1 points`, or `−0.004 nats`."""
    text = f"{value:+.3f}" if likelihood else f"{100 * value:+.1f}"
    text = text[1:] if float(text) == 0 else text  # no signed zero
    return f"{text.replace('-', '−')} {'nats' if likelihood else 'points'}"


def shown_interval(interval: Interval, likelihood: bool, *, signed: bool = False) -> str:
    """`23.3 to 36.4`: 95% interval without its unit."""
    ends = (interval.low, interval.high) if likelihood else (100 * interval.low, 100 * interval.high)
    form = ("{:+.3f}" if signed else "{:.3f}") if likelihood else ("{:+.1f}" if signed else "{:.1f}")
    return " to ".join(form.format(end).replace("-", "−") for end in ends)


def shown_p(value: float) -> str:
    """`< 0.001`, or `0.0312`."""
    return p_text(value).removeprefix("= ")


def cell_text(one: Answered, found: Claim | None) -> str:
    """A cell in one line: value, interval, difference to the base, and what that shows."""
    own = f"{shown_value(one.estimate.value, one.likelihood)} ({shown_interval(one.estimate.interval, one.likelihood)})"
    if found is None:
        return own
    change = shown_change(found.difference.effect, one.likelihood)
    return f"{own} {change} {MARKS[found.headline]} {found.headline}{_reservation(found)}"


def _reservation(found: Claim) -> str:
    """What a gain that stands by itself must not hide."""
    return "" if found.weakest is None else f", {_WEAKEST[found.weakest]}"


# --- rows --------------------------------------------------------------------------------------------------------


def grid(table: Table) -> list[dict[str, str]]:
    """A row for each subject, a column for each set; the paper's figures below, where they are of this model."""
    rows = [
        {"Arm": subject.title, **{column.title: _cell(table, subject.name, column) for column in table.columns}}
        for subject in table.recipe.subjects
    ]
    if table.budgets:
        written = {name: budget.in_short for name, budget in table.budgets.items()}
        rows = [
            row | {BUDGET: written.get(one.name, "–")} for row, one in zip(rows, table.recipe.subjects, strict=True)
        ]
    return [*rows, *_paper_rows(table)]


def _cell(table: Table, subject: str, column: Column) -> str:
    one = table.answered.get((subject, column.name))
    if one is None and any((bad.subject, bad.set) == (subject, column.name) for bad in table.damaged):
        return "damaged"
    return "–" if one is None else cell_text(one, table.claims.get((subject, column.name)))


def _paper_rows(table: Table) -> Iterator[dict[str, str]]:
    for subject in table.recipe.subjects:
        found = {column: reported(table.recipe.model, subject, column) for column in table.columns}
        if any(value is not None for value in found.values()):
            values = {
                column.title: "–" if value is None else f"{value} nats" if column.likelihood else f"{value}%"
                for column, value in found.items()
            }
            written = {BUDGET: "–"} if table.budgets else {}
            yield {"Arm": f"Paper: {subject.title} (n = {ITEMS})", **values, **written}


def long_rows(table: Table) -> list[dict[str, str | float | int]]:
    """A row for each cell, with all its digits: what a statistics program wants."""
    rows: list[dict[str, str | float | int]] = []
    for (name, set_name), one in table.answered.items():
        cell, found = one.cells[0], table.claims.get((name, set_name))
        row: dict[str, str | float | int] = {
            "subject": one.subject.title,
            "set": table.column(set_name).title,
            "scorer": cell.about.scorer,
            "n": one.estimate.n,
            "seeds": one.estimate.seeds,
            "value": one.estimate.value,
            "low": one.estimate.interval.low,
            "high": one.estimate.interval.high,
            "interval": one.estimate.method,
            "mean_tokens": one.length,
        }
        if (budget := table.budgets.get(name)) is not None:
            row["tokens_written_to_train"] = budget.written
            row |= {} if budget.taught is None else {"tokens_of_its_teacher": budget.taught}
        if not one.likelihood:
            row |= {"ended_share": one.share("ended"), "format_rate": one.share("read")}
        if found is not None:
            change = found.difference
            row |= {
                "effect": change.effect,
                "effect_low": change.interval.low,
                "effect_high": change.interval.high,
                "p": change.p,
                "test": change.test,
                "p_holm": found.p_adjusted,
                "comparisons": found.comparisons,
                "gained": change.gained,
                "lost": change.lost,
                "minimum_detectable": change.minimum_detectable,
                "headline": found.headline,
                "flags": "; ".join(found.flags),
            }
            for control in found.controls:
                row[f"control: {control.name}"] = control.state
                if control.difference is not None:
                    row[f"control p: {control.name}"] = control.difference.p
        row |= {"writer": cell.about.writer} if cell.about.writer else {}
        row |= {"seconds": one.seconds, "items_sha256": cell.fingerprint, "subject_sha256": cell.about.subject}
        rows.append(row)
    return rows


def diagnostics(table: Table) -> list[dict[str, str]]:
    """Length, stopping and format of every subject's answers."""
    return [
        {
            "Arm": one.subject.title,
            "Set": table.column(name).title,
            "Tokens": f"{one.length:.1f}",
            "Ended by themselves": "–" if one.likelihood else f"{100 * one.share('ended'):.0f}%",
            "Answer could be read": "–" if one.likelihood else f"{100 * one.share('read'):.0f}%",
            "Right if cut at the first answer": "–" if one.likelihood else f"{100 * float(one.early.mean()):.1f}%",
            "Right": shown_value(one.estimate.value, one.likelihood),
        }
        for (_, name), one in table.answered.items()
    ]


def drawn_rows(table: Table, column: Column) -> list[dict[str, str]]:
    """Of a set to whose items several answers were drawn: pass@k, right answers in different words, entropy."""
    return [_drawn_row(one) for one in drawn_answers(table, column)]


def _drawn_row(one: Drawn) -> dict[str, str]:
    shares = {
        f"pass@{k}": f"{shown_value(found.value, False)} ({shown_interval(found.interval, False)})"
        for k, found in one.passed.items()
    }
    return {
        "Arm": one.answered.subject.title,
        **shares,
        f"pass@{max(one.passed)} − base": "–" if one.beyond_base is None else change_text(one.beyond_base, False),
        "Right answers in different words": f"{one.different:.2f}",
        "Entropy (nats)": "–" if one.entropy is None else f"{one.entropy:.2f}",
        "Tokens": f"{one.answered.length:.1f}",
        "Ended by themselves": f"{100 * one.answered.share('ended'):.0f}%",
    }


def control_text(control: Control, likelihood: bool) -> str:
    """`Projected, random subspace: passed, +9.3 points (+1.2 to +17.1), p = 0.02, n = 150; does any projection do it?`

    Where it is not shown, the rule that was not met.
    """
    found = control.difference
    if found is None:
        return f"{control.name}: not run; {control.question}"
    decided = change_text(found, likelihood)
    rule = f"; {control_rule(likelihood)}" if control.state == "not shown" else ""
    return f"{control.name}: {control.state}, {decided}{rule}; {control.question}"


def change_text(found: Difference, likelihood: bool) -> str:
    """`+9.3 points (+1.2 to +17.1), p = 0.02, n = 150`: a difference with what decides about it."""
    ends = shown_interval(found.interval, likelihood, signed=True)
    return f"{shown_change(found.effect, likelihood)} ({ends}), p {p_text(found.p)}, n = {found.n}"


def control_rule(likelihood: bool) -> str:
    """What decides about a control."""
    return f"passed needs an interval {'below' if likelihood else 'above'} zero and p < 0.05"


def notes(table: Table) -> list[str]:
    """What a reader must know: items, tests, what was left out, what had been seen before."""
    counts = {table.column(name).title: one.estimate.n for (_, name), one in table.answered.items()}
    said = ["n: " + ", ".join(f"{title} {n}" for title, n in counts.items()) + "."] if counts else []
    said.append(
        "In brackets 95% intervals. Differences are to the base on the same items (exact McNemar test, or over items "
        "where seeds are pooled or scores are likelihoods); 'helps' and 'hurts' need an interval without zero and "
        f"p < 0.05 after Holm over {table.comparisons} comparisons."
    )
    for one in {one.cells[0].set: one for one in table.answered.values()}.values():
        cell, title = one.cells[0], table.column(one.cells[0].set).title
        if cell.about.scorer.startswith("harness:"):
            metric = cell.about.scorer.rpartition("/")[2]
            said.append(f"{title}: put and scored by {cell.about.template}; what counts is {metric}.")
        if cell.unfit:
            said.append(f"{title}: {cell.unfit} items that its scorer cannot score are left out of every subject.")
    for (_, name), one in table.answered.items():
        if one.seen_flag:
            kind, _, what = one.seen_flag.partition(": ")
            held_out = ": for it this is no held-out set" if kind == CONTAMINATED else ""
            said.append(f"{table.column(name).title}: {what}{held_out}.")
    for (_, name), found in table.claims.items():
        if found.headline == "helps":
            column = table.column(name)
            controls = "; ".join(control_text(control, column.likelihood) for control in found.controls)
            said.append(f"Controls of {found.subject} on {column.title}: {controls or 'none was run'}.")
    said += [sentence] if (sentence := unequal(table.recipe.subjects, table.budgets)) else []
    by = {cell.written.sentence: None for one in table.answered.values() for cell in one.cells if cell.written}
    said += [f"Answers were {sentence}." for sentence in by]
    if any(True for _ in _paper_rows(table)):
        said.append(f"The paper's figures are of {MODEL}, {ITEMS} items a set.")
    if table.done < table.planned:
        said.append(f"{table.done} of {table.planned} cells are filled so far.")
    said += [
        f"Damaged and left out: {one.subject}, seed {one.seed}, on {one.set}: {one.reason}." for one in table.damaged
    ]
    return said


# --- forms -------------------------------------------------------------------------------------------------------


def frame(table: Table) -> "DataFrame":
    """`long_rows` as a data frame."""
    import pandas as pd

    safe = [{name: _no_formula(value) for name, value in row.items()} for row in long_rows(table)]
    return pd.DataFrame(safe)


def _no_formula(value: str | float | int) -> str | float | int:
    """A spreadsheet takes a text that begins so for a formula, whoever wrote it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def to_markdown(table: Table) -> str:
    """The table, its notes, a line for each claim with its controls, and the diagnostics."""
    parts = [markdown_table(grid(table)), "\n".join(f"- {plain_markdown(note)}" for note in notes(table)), "### Claims"]
    for (_, name), found in table.claims.items():
        likelihood = table.column(name).likelihood
        lines = [f"- **{found.headline}**: {plain_markdown(found.sentence)}"]
        lines += [f"  - control {plain_markdown(control_text(control, likelihood))}" for control in found.controls]
        lines += [f"  - flag {plain_markdown(flag)}" for flag in found.flags]
        parts.append("\n".join(lines))
    for column in drawn_sets(table):
        parts += [f"### Several answers to each item of {column.title}", markdown_table(drawn_rows(table, column))]
    return "\n\n".join([*parts, "### Length, stopping, format", markdown_table(diagnostics(table))]) + "\n"


def markdown_table(rows: Sequence[dict[str, str]]) -> str:
    """Rows as a table in Markdown, with the columns of all of them."""
    if not rows:
        return "No cell is filled yet."
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(map(plain_markdown, line))} |" for line in lines)


def write_reports(recipe: EvaluationRecipe, folder: Path) -> None:
    """Put the table into the run, so that the folder explains itself; `StorageError` when the disk refuses."""
    table = read_table(recipe, folder)
    write_text(folder / "table.md", to_markdown(table))
    write_text(folder / "table.csv", frame(table).to_csv(index=False))
