"""A card for each comparison: what it shows, with every number that speaks for or against it. All text escaped.

"not shown" is a card like any other: it is never hidden, and never told as "no effect".
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import streamlit as st

from app.ui.set_panels import compared_sets, interval_text, items_changed, set_title
from app.ui.widgets import caption, counted, escaped
from spd_core.evaluation.budgets import unequal
from spd_core.evaluation.claims import Claim, Control, p_text
from spd_core.evaluation.contamination import seen_items
from spd_core.evaluation.controls import role
from spd_core.evaluation.report import MARKS, change_text, control_rule, shown_change, shown_p
from spd_core.evaluation.table import BUDGET, Answered, Column, Table
from spd_core.models.packaged import full_name
from spd_core.recipes.evaluation import CONTROLS
from spd_core.templates import render

_STATES = {"passed": "✓", "not shown": "·", "failed": "✗", "not run": "–"}


def panel(table: Table) -> None:
    """All cards, set by set, as in the recipe; "not shown" in a line that opens, gains and losses in full."""
    columns = compared_sets(table)
    if not columns:
        caption(
            "A card for each comparison appears here with the first cell beside the base's: whether it helps, hurts, "
            "or nothing is shown, with effect, interval, controls and reasons to doubt."
        )
        return
    st.markdown(f"##### {overview(table)}")
    caption(
        "How to read this: **helps** and **hurts** need a 95% interval without zero and p < 0.05 after Holm over all "
        "comparisons. **not shown** means that these items do not tell; it does not mean that there is no effect. "
        "Open a line for all its numbers."
    )
    for column in columns:
        st.markdown(f"###### {escaped(set_title(column))}")
        st.html(render("claims.html", claims=list(claims_of(table, column))))


def overview(table: Table) -> str:
    """All comparisons in a line of markdown: how many show what."""
    claims = list(table.claims.values())
    counts = {word: sum(one.headline == word for one in claims) for word in MARKS}
    said = ", ".join(f"{MARKS[word]}\u00a0**{count}**\u00a0{word}" for word, count in counts.items())
    missing = table.comparisons - len(claims)
    rest = f"; {counted(missing, 'comparison')} still to come" if missing else ""
    return f"{counted(len(claims), 'comparison')} with the base: {said}{rest}"


def claims_of(table: Table, column: Column) -> Iterator[dict[str, Any]]:
    """What the template `claim.html` takes, of every comparison of a set."""
    for subject in table.recipe.subjects:
        found = table.claims.get((subject.name, column.name))
        if found is not None:
            mine = table.answered[subject.name, column.name]
            yield _card(found, mine, table)


def _card(found: Claim, mine: Answered, table: Table) -> dict[str, Any]:
    low = found.lower_is_better
    ends = interval_text(found.difference.interval, low, signed=True)
    return {
        "headline": found.headline,
        "kind": found.headline.replace(" ", "-"),
        "compact": found.headline == "not shown",
        "mark": MARKS[found.headline],
        "subject": found.subject,
        "change": f"{shown_change(found.difference.effect, low)} ({ends})",
        "brief": " · ".join(_brief(found, mine)),
        "sentence": found.sentence,
        "facts": list(_facts(found, mine)),
        "more": [*_more(found, mine), *_trained_on(found, mine, table)],
        "controls": [_control(one, low) for one in found.controls],
        "rule": f"{control_rule(low)}, before any correction.".capitalize(),
        "origin": " · ".join(_origin(mine)),
    }


def _control(control: Control, likelihood: bool) -> dict[str, str]:
    found = control.difference
    return {
        "name": control.name,
        "state": control.state,
        "mark": _STATES[control.state],
        "numbers": "" if found is None else change_text(found, likelihood),
        "question": control.question,
    }


def _brief(claim: Claim, mine: Answered) -> Iterator[str]:
    """What a line says beside the difference: p, controls, reasons to doubt."""
    yield f"p {p_text(claim.p_adjusted)} after Holm" + (": chance could do it" if claim.could_be_luck else "")
    states = Counter(control.state for control in claim.controls)
    if states:
        yield "controls: " + ", ".join(f"{count} {state}" for state, count in states.items())
    if claim.flags:
        yield f"⚑ {counted(len(claim.flags), 'reason')} to doubt"
    if seen_items(mine.subject, mine.cells):
        yield f"⚠ {mine.seen_flag}"


def _facts(claim: Claim, mine: Answered) -> Iterator[tuple[str, str | list[str]]]:
    """What a card lists: a name, and a line or several."""
    difference = claim.difference
    yield "Items", f"n = {difference.n}: {items_changed(claim)}"
    after_holm = f"after Holm over {claim.comparisons}: {shown_p(claim.p_adjusted)}"
    yield "Test", f"p {shown_p(difference.p)}, {after_holm} ({difference.test})"
    if role(mine.subject) in CONTROLS:
        yield "Was it the subspace?", subspace_answer(claim)


def _more(claim: Claim, mine: Answered) -> Iterator[tuple[str, str | list[str]]]:
    """What stands below the controls."""
    if claim.flags:
        yield "Reasons to doubt", [f"⚑ {flag}" for flag in claim.flags]
    if not mine.seen_flag:
        yield "Seen before?", "no: it was calibrated or trained on none of these items"
    yield "Cost", _cost(mine)


def _trained_on(claim: Claim, mine: Answered, table: Table) -> Iterator[tuple[str, str | list[str]]]:
    """What was written to train a subject, and that a control was trained at another cost."""
    if mine.subject.kind != "distilled":
        return
    own = table.budgets.get(mine.subject.name)
    if own is None:
        yield BUDGET, "not known: an earlier version trained it, or its adapter is gone"
        return
    controls = {control.name for control in claim.controls if control.difference is not None}
    compared = [one for one in table.recipe.subjects if one.title in controls]
    gaps = [unequal((mine.subject, one), table.budgets) for one in compared]
    yield BUDGET, [f"{own.in_words}.", *filter(None, gaps)]


def subspace_answer(claim: Claim) -> str:
    """Whether a gain is due to the capability subspace, in words."""
    if claim.headline != "helps":
        return "not known: no gain is shown that it could explain"
    if claim.weakest is None or claim.weakest == "not run":
        return "not known: a control was not run"
    return {
        "passed": "yes: it is better than every control",
        "failed": "no: a control is better than it",
        "not shown": "not shown: these items do not show it to be better than every control",
    }[claim.weakest]


def _cost(mine: Answered) -> str:
    tokens, reused = sum(cell.tokens for cell in mine.cells), sum(cell.reused for cell in mine.cells)
    again = f"; {counted(reused, 'answer')} of earlier runs read again" if reused else ""
    return f"{mine.seconds:,.1f} s, {counted(tokens, 'token')} {'scored' if mine.likelihood else 'written'}{again}"


def _origin(mine: Answered) -> Iterator[str]:
    """Provenance: model, items and subject by their fingerprints, seeds."""
    cell = mine.cells[0]
    yield f"{full_name(cell.model, cell.revision)}, {cell.dtype}"
    yield f"items sha256 {cell.fingerprint[:12]}"
    yield "subject sha256 " + ", ".join(dict.fromkeys(one.about.subject[:12] for one in mine.cells))
    if cell.about.writer:
        yield f"answers written through {cell.about.writer}"
    yield f"{'seeds' if len(mine.cells) > 1 else 'seed'} {', '.join(str(one.seed) for one in mine.cells)}"
