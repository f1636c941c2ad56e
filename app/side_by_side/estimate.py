"""How long lanes will take before they are written, by what was measured on this machine, and whether they fit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from app.jobs.models import shared
from app.jobs.requests import WriteRequest
from app.side_by_side.settings import settings_line
from app.ui.estimates import time_in_words
from app.ui.recorded_texts import open_once, own_repeats
from app.ui.widgets import caption, counted, escaped
from spd_core.errors import InputError, MemoryLimitError
from spd_core.evaluation.costs import measured_answers
from spd_core.generation import comparison as texts
from spd_core.generation import report
from spd_core.generation.speed import Speed, speed_from, speed_of
from spd_core.runs.costs import CHARACTERS_PER_TOKEN
from spd_core.storage import spd_home

if TYPE_CHECKING:
    from spd_core.generation.comparison import Comparison

_LOOKED_AT = 5
"""Newest results among which one of the model is looked for."""


def measured_speed(model: str) -> Speed | None:
    """How fast a model wrote last: in a result of this machine, else in its evaluations; None where nothing says."""
    recorded = set(texts.recorded_ids())
    own = [name for name in texts.saved_ids() if name not in recorded][:_LOOKED_AT]
    found = _speed_of_texts(model, str(spd_home()), tuple(own))
    return _speed_of_answers(model, str(spd_home())) if found is None else found


@st.cache_data(max_entries=50, show_spinner=False)
def _speed_of_texts(model: str, home: str, names: tuple[str, ...]) -> Speed | None:
    """What results of these ids below `home` have measured: they are read again only when there is another one."""
    return speed_of(model, _opened(names))


@st.cache_data(ttl=300, max_entries=20, show_spinner=False)
def _speed_of_answers(model: str, home: str) -> Speed | None:
    """What evaluations below `home` have measured, or is known of the built-in model; not looked up at every click."""
    answers = measured_answers(model)
    return None if answers is None else Speed(answers.tokens, answers.tokens, answers.source)


def _speed_of_repeats(model: str) -> Speed | None:
    """How fast a model went over prompts and seeds last on this machine: more texts at once than a comparison has."""
    for found in own_repeats(_LOOKED_AT):
        if found.model == model and (speed := speed_from(found.tokens, found.seconds, found.created)) is not None:
            return speed
    return None


def _opened(names: Sequence[str]) -> "list[Comparison]":
    found = []
    for name in names:
        try:
            found.append(open_once(name))
        except InputError:  # damaged: the history says so
            continue
    return found


def say_request(request: WriteRequest) -> None:
    """One line under Generate: what it will write, tokens and time, and memory where it would not do."""
    line, source = generation_estimate(request)
    noise = report.noise_sentence(request.sampling)
    st.markdown(f":small[{settings_line(request)} · {line}]", help=f"{noise} {source}")
    if trouble := memory_trouble(request):
        caption(f":material/memory_alt: {escaped(trouble)}")


def generation_estimate(request: WriteRequest) -> tuple[str, str]:
    """What writing will take at most, in a line, and where that is known from; both escaped."""
    tokens = len(request.specs) * request.sampling.max_new_tokens
    speed = measured_speed(request.key.name)
    return _line(request, tokens, None if speed is None else tokens / speed.with_reading), _source(speed)


def repeat_estimate(request: WriteRequest, texts_each: int) -> tuple[str, str]:
    """The same for so many prompts × seeds; nothing is read beside it."""
    tokens = texts_each * len(request.specs) * request.sampling.max_new_tokens
    speed = _speed_of_repeats(request.key.name) or measured_speed(request.key.name)
    return _line(request, tokens, None if speed is None else tokens / speed.tokens), _source(speed)


def _line(request: WriteRequest, tokens: int, seconds: float | None) -> str:
    return f"up to {counted(tokens, 'token')} in all: {time_in_words(seconds, request.key.name)}"


def _source(speed: Speed | None) -> str:
    return "Nothing was measured yet for this model." if speed is None else f"As fast as {escaped(speed.source)}."


def memory_trouble(request: WriteRequest) -> str:
    """Why the lanes will not fit into memory, with the sizes; empty where they do, or the model is not loaded yet."""
    lm = shared().models.resident
    if lm is None or lm.name != request.key.name:
        return ""
    from spd_core.generation.compare import ROWS, check_memory

    prompt = round(len(request.prompt) / CHARACTERS_PER_TOKEN) + 1
    try:
        check_memory(lm, prompt, min(len(request.specs), ROWS), request.sampling.max_new_tokens)
    except MemoryLimitError as error:
        return str(error)
    return ""
