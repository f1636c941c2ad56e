"""How long something will take, in words."""

from app.jobs.models import shared
from app.ui.widgets import duration


def time_in_words(seconds: float | None, model: str) -> str:
    """`about 8 s or less, plus loading the model`: an upper bound, where anything was measured."""
    lm = shared().models.resident
    loading = "" if lm is not None and lm.name == model else ", plus loading the model"
    time = "time not measured yet" if seconds is None else f"about {duration(max(seconds, 1))} or less"
    return time + loading
