"""A study in words and tables: what was announced, what it shows, and every evaluation's own table. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spd_core.evaluation import report
from spd_core.evaluation.report import MARKS, shown_change, shown_interval, shown_p, shown_value
from spd_core.evaluation.table import Answered, Table
from spd_core.storage import write_text
from spd_core.studies.outcome import Outcome, outcomes
from spd_core.studies.plan import Study

RESULTS = "results.md"


def verdict(found: Sequence[Outcome]) -> str:
    """What the announced comparisons show, in a sentence or two."""
    missing = sum(one.difference is None for one in found)
    said = [f"{one.titles[0]} {one.headline} against {one.titles[1]}" for one in found if one.headline != "not shown"]
    shown = "; ".join(said) if said else "None of them shows a difference"
    waiting = f" {missing} of {len(found)} are not answered yet." if missing else ""
    return f"{shown}, after Holm over {len(found)} announced comparisons.{waiting}"


def outcome_rows(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row for each announced comparison, with all its digits."""
    rows: list[dict[str, Any]] = []
    for one in found:
        row: dict[str, Any] = {
            "evaluation": one.part.name,
            "set": one.announced.set or one.part.in_domain,
            "subject": one.announced.subject,
            "against": one.announced.against,
            "shows": one.headline,
        }
        if one.difference is not None and one.subject is not None and one.against is not None:
            row |= {
                "value": one.subject.estimate.value,
                "value_against": one.against.estimate.value,
                "effect": one.difference.effect,
                "low": one.difference.interval.low,
                "high": one.difference.interval.high,
                "p": one.difference.p,
                "p_holm": one.p_adjusted,
                "n": one.difference.n,
                "seeds": max(one.subject.estimate.seeds, one.against.estimate.seeds),
                "minimum_detectable": one.difference.minimum_detectable,
            }
        rows.append(row)
    return rows


def shown_rows(found: Sequence[Outcome]) -> list[dict[str, str]]:
    """The same as people read it."""
    return [_shown(one) for one in found]


def _shown(one: Outcome) -> dict[str, str]:
    subject, against = one.titles
    named = {"Evaluation": one.part.name, "Comparison": f"{subject} − {against}"}
    if one.difference is None or one.subject is None or one.against is None:
        return {**named, "Difference": "not answered yet"}
    low = one.subject.likelihood
    return {
        **named,
        "Scores": f"{_score(one.subject)} and {_score(one.against)}",
        "Difference": shown_change(one.difference.effect, low),
        "95% interval": shown_interval(one.difference.interval, low, signed=True),
        "p": shown_p(one.difference.p),
        "p after Holm": shown_p(one.p_adjusted),
        "n": f"{one.difference.n:,} items, {_seeds(one)}",
        "Could have been seen": shown_change(one.difference.minimum_detectable, low).removeprefix("+"),
        "Shows": f"{MARKS[one.headline]} {one.headline}",
    }


def _score(one: Answered) -> str:
    return shown_value(one.estimate.value, one.likelihood)


def _seeds(one: Outcome) -> str:
    count = max(1 if side is None else side.estimate.seeds for side in (one.subject, one.against))
    return f"{count} seed{'s' * (count > 1)}"


def to_markdown(study: Study, tables: Mapping[str, Table]) -> str:
    """All of it as Markdown."""
    found = outcomes(study, tables)
    parts = [f"# {study.title}", verdict(found), report.markdown_table(shown_rows(found))]
    for name, table in tables.items():
        parts += [f"## {name}", study.part(name).question, report.to_markdown(table).replace("### ", "#### ")]
    return "\n\n".join(parts).rstrip() + "\n"


def write_results(study: Study, tables: Mapping[str, Table], folder: Path) -> None:
    """Put the results beside what was recorded; `StorageError` when the disk refuses."""
    write_text(folder / RESULTS, to_markdown(study, tables))
