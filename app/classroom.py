"""Classroom mode (`SPD_MODE=classroom`): one server for a class.

Each browser has a shelf of its own, by a cookie that nobody else knows; jobs take turns; nothing is imported, no other
model is loaded, no run is started (but for `SPD_CLASSROOM_TRAINING=1`), and what one press may cost is capped. What
the teacher keeps in `SPD_HOME` is not shown either: only what comes with SPD Lab, and what a browser has made.
"""

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.runtime.scriptrunner import get_script_run_ctx

from spd_core.errors import InputError
from spd_core.storage import SHELVES, shared_home, spd_home, storage_errors

if TYPE_CHECKING:
    from spd_core.recipes.distill import Recipe
    from spd_core.recipes.evaluation import EvaluationRecipe

MODE = "SPD_MODE"
"""Environment variable that says what a server is for."""
CLASSROOM = "classroom"
COOKIE = "spd_shelf"
_OWN = re.compile(r"[A-Za-z0-9_-]{32}")
TRAINING = "SPD_CLASSROOM_TRAINING"
"""Environment variable that lets a class train."""
MOST_TOKENS = 1024
"""New tokens of one press, those of all lanes, prompts and seeds together."""
MOST_GRADIENTS = 100
"""Of a capture: its examples times its layers."""
MOST_CHARACTERS = 2000
"""Of a text that is read, or continued."""


def is_classroom() -> bool:
    """Whether this server is for a class."""
    return os.environ.get(MODE, "") == CLASSROOM


def check_mode() -> None:
    """Raises `InputError` for a mode that there is not: a class must not be let into a server for one person."""
    mode = os.environ.get(MODE, "")
    if mode not in ("", CLASSROOM):
        raise InputError(f"{MODE} is {mode!r}; set it to {CLASSROOM}, or leave it out")


# --- shelves -------------------------------------------------------------------------------------------------


def shelf() -> Path | None:
    """The folder of results of the browser whose page asks; None where no page does."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return None
    who = st.context.cookies.get(f"{COOKIE}_{st.get_option('server.port')}") or f"session {context.session_id}"
    return shared_home() / SHELVES / hashlib.sha256(who.encode()).hexdigest()[:32]


def shelves() -> list[Path]:
    """The folders of results of all browsers of a class; empty elsewhere."""
    return sorted((shared_home() / SHELVES).glob("*/")) if is_classroom() else []


class Shelves:
    """ASGI middleware: every browser gets a cookie of its own, by which its shelf is found."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app, self._name = app, f"{COOKIE}_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _OWN.fullmatch(HTTPConnection(scope).cookies.get(self._name, "")):
            await self._app(scope, receive, send)
            return
        cookie = f"{self._name}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; SameSite=Strict; Max-Age={30 * 86_400}"

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Set-Cookie", cookie)
            await send(message)

        await self._app(scope, receive, with_cookie)


# --- what one press may cost -----------------------------------------------------------------------------------


def too_many_tokens(tokens: int) -> str:
    """Why so many new tokens are not written here; empty where they are."""
    return _refused(
        tokens > MOST_TOKENS,
        f"at most {MOST_TOKENS:,} new tokens are written at once, and these are {tokens:,}; ask for fewer",
    )


def too_large_a_capture(examples: int, layers: int) -> str:
    """Why so many examples are not captured at so many layers here; empty where they are."""
    return _refused(
        examples * layers > MOST_GRADIENTS,
        f"a capture has at most {MOST_GRADIENTS} examples × layers, and this has {examples} × {layers}; take fewer of "
        "either",
    )


def too_long_a_text(text: str) -> str:
    """Why a text is not read here; empty where it is."""
    return _refused(
        len(text) > MOST_CHARACTERS,
        f"a text has at most {MOST_CHARACTERS:,} characters, and this has {len(text):,}; shorten it",
    )


def no_run(recipe: "Recipe | EvaluationRecipe | None", launcher: str = "local") -> str:
    """Why a run is not started here, or none at all where no recipe is given; empty where it is.

    Where `SPD_CLASSROOM_TRAINING=1` allows it, a class trains what the preset `quick` trains, on what is built in: the
    other settings of a recipe can name files, programs and servers.
    """
    if os.environ.get(TRAINING, "") != "1":
        return not_here("no runs are started")
    if recipe is None:
        return ""
    from spd_core.data.capability import builtin_names
    from spd_core.recipes.presets import differing

    own = differing(recipe)
    allowed = recipe.kind == "distillation" and own.keys() <= {"preset", "capability", "arms"} and launcher == "local"
    built_in = allowed and own["preset"] == "quick" and own["capability"] in builtin_names()
    return "" if built_in else not_here("only the preset quick is trained, on a built-in capability, with any arms")


def link_models() -> None:
    """Have the job of a run find the converted models from its shelf."""
    place = spd_home() / "models"
    if is_classroom() and not place.exists():
        with storage_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(shared_home() / "models")


def not_here(what: str) -> str:
    """Why something is not done here at all; empty where it is."""
    return _refused(True, what)


def _refused(is_so: bool, why: str) -> str:
    return f"this server is for a class: {why}" if is_so and is_classroom() else ""
