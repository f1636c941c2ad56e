"""What trained adapters are called wherever one is chosen: so that each can be found among the runs."""

from datetime import datetime

from spd_core.errors import InputError
from spd_core.intervention.cards import AdapterCard
from spd_core.recipes.distill import short_name
from spd_core.runs.folder import open_run
from spd_core.text import opening


def adapter_label(ref: str, card: AdapterCard | None) -> str:
    """Arm, title of the run, capability, and when the run was started, as the list of runs says it.

    Args:
        ref: `RUN/ARM`.
        card: None where there is no such adapter (any more).
    """
    run, _, arm = ref.partition("/")
    if card is None:
        return f"{short_name(arm)} · {run} (not there)"
    try:
        record = open_run(run).record
        title, when = opening(record.title, 60), record.created
    except InputError:  # an adapter that came without its run
        title, when = "", card.created
    return " · ".join(part for part in (card.label, title, card.capability, when.replace("T", " ")) if part)


def former_label(card: AdapterCard) -> str:
    """What Side by side called it until December 2026: links say so."""
    try:
        when = f"{datetime.fromisoformat(card.created):%d %b %Y, %H:%M}"
    except ValueError:
        when = card.created
    return " · ".join(part for part in (card.label, card.capability, when) if part)
