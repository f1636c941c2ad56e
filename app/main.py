"""Entry point: `streamlit run app/main.py`. Starts a server that imports what pages need before a browser asks."""

import logging
import os
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: its waiting threads leave the page a core

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts only this folder there
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from app.classroom import Shelves, check_mode, is_classroom, shelf, shelves  # noqa: E402
from app.gate import Gate, exposed, is_loopback, rules_for  # noqa: E402
from app.late_fragments import leave_out_late_fragments  # noqa: E402
from app.served_page import AddToPage  # noqa: E402
from app.warming import warm  # noqa: E402
from spd_core.errors import InputError, StorageError  # noqa: E402
from spd_core.storage import give_homes, home_at, private_home, shared_home  # noqa: E402

SUPERVISION = 2.0
"""Seconds between two looks at the queue of runs."""


def supervise(over: threading.Event) -> None:
    """Start queued runs, and end those that do not stop; jobs themselves outlive this server."""
    from spd_core.leftovers import sweep
    from spd_core.runs import queue

    for home in {shared_home(), *shelves()}:
        for path in sweep(home):
            logging.getLogger("spd_lab").warning("left by a process that was killed, and taken away: %s", path)
    said = ""
    while not over.wait(SUPERVISION):
        try:
            for home in shelves() or [shared_home()]:
                with home_at(home):
                    queue.start_next()
                    queue.enforce_stops()
            said = ""
        except Exception as error:  # the next look may succeed; one line in the log is enough until then
            if str(error) != said:
                logging.getLogger("spd_lab").exception("the queue of runs stands still")
            said = str(error)


@asynccontextmanager
async def _lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
    """While the browser still loads its own part, nobody waits for these imports; torch comes later."""
    threading.Thread(target=warm, daemon=True).start()
    if not st.get_option("server.headless"):  # `st.App` leaves this to the app; the server listens a moment later
        address = f"http://{st.get_option('server.address')}:{st.get_option('server.port')}"
        threading.Timer(1.0, webbrowser.open, (address,)).start()
    over = threading.Event()
    threading.Thread(target=supervise, args=(over,), daemon=True).start()
    try:
        yield {}
    finally:
        over.set()


def _make_home() -> None:
    try:
        private_home()
    except StorageError as error:  # the pages say what cannot be saved; recorded results can still be looked at
        print(f"{error}.", file=sys.stderr)


def _gate() -> Middleware:
    """The rules of the address that Streamlit was told to listen on; without a token where one is needed, an end."""
    address, port = st.get_option("server.address"), int(st.get_option("server.port"))
    try:
        rules = rules_for(address, port, os.environ.get("SPD_TOKEN", ""), os.environ.get("SPD_HOSTS", ""))
    except InputError as error:
        sys.exit(f"SPD Lab does not start: {error}.")
    if address is not None and not is_loopback(address):
        print(exposed(address, port), file=sys.stderr)
    return Middleware(Gate, rules=rules)


def _class_room() -> list[Middleware]:
    """What a server for a class has besides: a shelf for each browser."""
    try:
        check_mode()
    except InputError as error:
        sys.exit(f"SPD Lab does not start: {error}.")
    if not is_classroom():
        return []
    give_homes(shelf)
    return [Middleware(Shelves, port=int(st.get_option("server.port")))]


leave_out_late_fragments()
_make_home()
app = st.App(
    ROOT / "app" / "navigation.py",
    lifespan=_lifespan,
    middleware=[_gate(), *_class_room(), Middleware(AddToPage)],
)
