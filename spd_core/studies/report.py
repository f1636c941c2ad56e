"""A study in words and tables: what was announced, what it shows, and every evaluation's own table. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spd_core.evaluation import report
from spd_core.evaluation.claims import Headline
from spd_core.evaluation.report import MARKS, shown_change, shown_interval, shown_p, shown_value
from spd_core.evaluation.table import Table
from spd_core.storage import write_text
from spd_core.studies.findings import Finding, findings
from spd_core.studies.plan import StudyPlan

RESULTS = "results.md"


def study_verdict(found: Sequence[Finding]) -> str:
    """What the announced comparisons show, in two sentences or three."""
    answered = [one for one in found if one.claim is not None]
    shown: dict[str, list[str]] = {}
    for one in answered:
        if one.claim is not None and one.claim.headline != "not shown":
            shown.setdefault(one.part.called, []).append(_shows(one))
    said = "; ".join(f"{part}: {', '.join(mine)}" for part, mine in shown.items())
    none = f"None of {len(answered)} comparisons shows a difference" if answered else "Nothing is answered yet"
    missing = len(found) - len(answered)
    waiting = f" {missing} of {len(found)} are not answered yet." if missing and answered else ""
    return f"{said or none}. Holm's correction is over all {len(found)} that were announced.{waiting}"


def mood(found: Sequence[Finding]) -> Headline:
    """What colours the verdict: `not shown` also where some help and some hurt, since neither speaks for the whole."""
    kinds = {one.claim.headline for one in found if one.claim is not None} - {"not shown"}
    return kinds.pop() if len(kinds) == 1 else "not shown"


def _shows(one: Finding) -> str:
    assert one.claim is not None
    better = {"helps": "better than", "hurts": "worse than"}[one.claim.headline]
    change = shown_change(one.claim.difference.effect, one.claim.lower_is_better)
    return f"{one.titles[0]} is {better} {one.titles[1]} ({change})"


def finding_rows(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """A row for each announced comparison, with all its digits."""
    return [_digits(one) for one in found]


def _digits(one: Finding) -> dict[str, Any]:
    row: dict[str, Any] = {
        "evaluation": one.part.name,
        "set": one.announced.set or one.part.in_domain,
        "subject": one.announced.subject,
        "against": one.announced.against,
    }
    if one.claim is None or one.subject is None or one.against is None:
        return row
    found = one.claim.difference
    return row | {
        "shows": one.claim.headline,
        "value": one.subject.estimate.value,
        "value_against": one.against.estimate.value,
        "effect": found.effect,
        "low": found.interval.low,
        "high": found.interval.high,
        "p": found.p,
        "p_holm": one.claim.p_adjusted,
        "n": found.n,
        "seeds": _seeds(one),
        "minimum_detectable": found.minimum_detectable,
        "flags": "; ".join(one.claim.flags),
    }


def shown_rows(found: Sequence[Finding]) -> list[dict[str, str]]:
    """The same as people read it; every row has all columns."""
    rows = [_shown(one) for one in found]
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in names} for row in rows]


def _shown(one: Finding) -> dict[str, str]:
    named = {"Evaluation": one.part.called, "Comparison": " − ".join(one.titles)}
    if one.claim is None or one.subject is None or one.against is None:
        return {**named, "Scores": "not answered yet"}
    found, low, seeds = one.claim.difference, one.claim.lower_is_better, _seeds(one)
    scores = (shown_value(side.estimate.value, low) for side in (one.subject, one.against))
    return {
        **named,
        "Scores": " and ".join(scores),
        "Difference": shown_change(found.effect, low),
        "95% interval": shown_interval(found.interval, low, signed=True),
        "p": shown_p(found.p),
        "p after Holm": shown_p(one.claim.p_adjusted),
        "n": f"{found.n:,} items, {seeds} seed{'s' * (seeds > 1)}",
        "Could have been seen": shown_change(found.minimum_detectable, low).removeprefix("+"),
        "Shows": f"{MARKS[one.claim.headline]} {one.claim.headline}",
    }


def _seeds(one: Finding) -> int:
    return max(1 if side is None else side.estimate.seeds for side in (one.subject, one.against))


def study_markdown(study: StudyPlan, tables: Mapping[str, Table]) -> str:
    """All of it as Markdown."""
    found = findings(study, tables)
    parts = [f"# {study.title}", study_verdict(found), report.markdown_table(shown_rows(found))]
    for name, table in tables.items():
        parts += [
            f"## {study.part(name).called}",
            study.part(name).question,
            report.to_markdown(table).replace("### ", "#### "),
        ]
    return "\n\n".join(parts).rstrip() + "\n"


def write_results(study: StudyPlan, tables: Mapping[str, Table], folder: Path) -> None:
    """Put the results beside what was recorded; `StorageError` when the disk refuses."""
    write_text(folder / RESULTS, study_markdown(study, tables))
