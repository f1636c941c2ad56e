"""Who writes, as both forms ask it: SPD Lab itself, a server, or vLLM. What that means is in `recipes/writer.py`."""

from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st

from app.runs.form import FieldLabel, setting_widgets
from app.ui.widgets import caption
from spd_core.recipes.writer import Writer

_WRITERS = {"local": "this app", "openai": "an OpenAI-compatible server", "vllm": "vLLM"}
_SERVER = {
    "url": FieldLabel("URL", "Of the API, such as http://127.0.0.1:8000/v1. A key is read from SPD_WRITER_KEY alone."),
    "served_name": FieldLabel("Model on the server", "What it calls the untouched model (GET /v1/models)."),
}
_REQUESTS = {
    "concurrency": FieldLabel("Requests at a time"),
    "timeout": FieldLabel("Seconds for a request"),
    "tries": FieldLabel("Tries", "How often a request is made before the server counts as gone."),
}
_HOW = {
    "openai": "The server serves one model by a name; projected and tuned ones are exported, and served beside it.",
    "vllm": "It is started for each {each}, and stopped after it, in the environment that SPD_VLLM names "
    "(docs/engines.md).",
}
_NOT_THE_SAME = {
    "arm": "An engine draws its own noise: arms do not share their randomness, and a difference between two of them is "
    "luck, too.",
    "subject": "Answers are greedy, so that nothing is drawn; but an engine rounds in its own way, and may choose "
    "another token where two are nearly even.",
}
_NEVER_MIXED = "Its texts are never mixed with others; how fast it is, only a run through it tells."


def pick_writer(base: Mapping[str, Any], key: str, each: Literal["arm", "subject"]) -> dict[str, Any]:
    """The settings of a `Writer`.

    Args:
        base: what the form was filled with.
        key: what the keys of its widgets begin with.
        each: what writes: arms draw noise, subjects answer greedily.
    """
    kind = st.columns(3, gap="medium")[0].selectbox(
        "Written by",
        tuple(_WRITERS),
        tuple(_WRITERS).index(base["kind"]),
        key=f"{key}_kind",
        persist_state="session",
        format_func=_WRITERS.__getitem__,
        help="Text is the same model's, whoever writes it; training and captures stay here.",
    )
    found: dict[str, Any] = {"kind": kind or "local"}
    if found["kind"] == "local":
        return found
    caption(f"{_HOW[found['kind']].format(each=each)} {_NOT_THE_SAME[each]} {_NEVER_MIXED}")
    if found["kind"] == "openai":
        found |= setting_widgets(Writer, _SERVER, base, key)
        found["others"] = _pick_others(base["others"], key, each)
    return found | setting_widgets(Writer, _REQUESTS, base, key)


def _pick_others(before: list[dict[str, str]], key: str, each: str) -> list[dict[str, str]]:
    """Other models on servers, a line each: `spd = its-name`, or `spd = its-name at http://…/v1`."""
    lines = st.text_area(
        f"Other models, one {each} a line",
        "\n".join(_as_line(one) for one in before),
        key=f"{key}_others",
        persist_state="session",
        placeholder="spd = folded at http://127.0.0.1:8001/v1",
        help="Its name, the model's name on the server, and, where that is another server, its URL.",
    )
    return [_of_line(line) for line in (lines or "").splitlines() if line.strip()]


def _as_line(one: Mapping[str, str]) -> str:
    return f"{one['of']} = {one['served_name']}" + (f" at {one['url']}" if one["url"] else "")


def _of_line(line: str) -> dict[str, str]:
    of, _, rest = line.partition("=")
    name, _, url = rest.strip().partition(" at ")
    return {"of": of.strip(), "served_name": name.strip(), "url": url.strip()}
