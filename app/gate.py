"""Who is let in, and what a page may do: Host, Origin, a token, and a content security policy, before Streamlit's own.

Streamlit 1.67 checks the Host of the websocket alone, lets a missing Origin pass, and sends no policy. `SECURITY.md`
says what each rule is for.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.served_page import SCRIPT
from spd_core.errors import InputError
from spd_core.templates import render

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SHORTEST_TOKEN = 16
"""Characters: what a person types, and nobody guesses at one try a second."""
SIGN_IN = "/sign-in"
_WRONG_TOKEN_WAITS = 1.0
"""Seconds that an answer to a wrong token takes."""
_LONGEST_FORM = 10_000
"""Bytes of a form with a token."""
_ASKS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing: a page of another origin cannot read what they answer."""


@dataclass(frozen=True)
class Rules:
    """Who is let in.

    Attributes:
        hosts: names under which this server may be asked.
        token: what has to be typed once; empty lets everybody in who reaches the port.
        cookie: its name: cookies of all ports of a host lie together.
    """

    hosts: frozenset[str]
    token: str = ""
    cookie: str = "spd_lab"


def rules_for(address: str | None, port: int, token: str, hosts: str = "") -> Rules:
    """The rules for a server at that address.

    Args:
        address: what it listens on; None where another server than `streamlit run` chose it: without a token, that
            one lets nobody in.
        token: of `SPD_TOKEN`; needed where other machines reach the address.
        hosts: of `SPD_HOSTS`: further names under which it is asked, with commas between.

    Raises:
        InputError: others can reach the address and there is no token; the token is short.
    """
    if token and len(token) < SHORTEST_TOKEN:
        raise InputError(f"SPD_TOKEN has {len(token)} characters; give it {SHORTEST_TOKEN} or more")
    if address is None and not token:
        return Rules(frozenset())
    address = "0.0.0.0" if address is None else address
    if not is_loopback(address) and not token:
        raise InputError(
            f"{address} can be reached from other machines, and SPD Lab runs programs and reads files for whoever "
            f"reaches it; set SPD_TOKEN to a secret of {SHORTEST_TOKEN} or more characters, or leave "
            "--server.address out"
        )
    named = {name.strip().lower() for name in hosts.split(",") if name.strip()}
    own = set() if is_loopback(address) else {address.lower(), socket.gethostname().lower()}
    return Rules(LOOPBACK | named | own, token, f"spd_lab_{port}")


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def exposed(address: str, port: int) -> str:
    """What a server that others reach exposes, for its log; never the token."""
    return (
        f"SPD Lab listens on {address}:{port}: other machines reach it. Whoever knows SPD_TOKEN can read all captures, "
        "texts and runs, start jobs and programs of this user, and load models. The connection is not encrypted: put "
        "a proxy with TLS before it on any network that you do not trust."
    )


class Gate:
    """ASGI middleware around HTTP and websocket: what the rules refuse goes no further."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules
        self._headers = {**_HEADERS, "Content-Security-Policy": policy(_streamlits_page())}
        # What the cookie holds: it proves that the token was known, and does not tell it.
        self._pass = hmac.new(rules.token.encode(), b"cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = await self._refusal(scope, receive)
        if answer is not None and scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4403})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await (answer or self._app)(scope, receive, guarded)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer to a request that goes no further; None lets it in."""
        asked = HTTPConnection(scope)
        if not self._is_host(asked):
            return PlainTextResponse("This server is not called that. Open it by the address it printed.", 403)
        changes = scope["type"] == "websocket" or scope["method"] not in _ASKS
        if changes and not _own_origin(asked.headers):
            return PlainTextResponse("Only pages of this server may ask for that.", 403)
        if not self._rules.token or self._knows(asked):
            return None
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == SIGN_IN:
            return await self._sign_in(Request(scope, receive))
        return HTMLResponse(render("sign_in.html", wrong=False), 401)

    def _is_host(self, asked: HTTPConnection) -> bool:
        """Whether the request names this server: by one of its names, or by the very address that it came in at."""
        name = urlsplit(f"//{asked.headers.get('host', '')}").hostname or ""
        came_in_at = (asked.scope.get("server") or ("",))[0] if self._rules.token else ""
        return name != "" and (name in self._rules.hosts or name == came_in_at)

    def _knows(self, asked: HTTPConnection) -> bool:
        return hmac.compare_digest(asked.cookies.get(self._rules.cookie, "").encode(), self._pass.encode())

    async def _sign_in(self, request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST_FORM:
                return PlainTextResponse(f"A form of more than {_LONGEST_FORM} bytes has no token.", 413)
        given = parse_qs(body.decode(errors="replace")).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(errors="replace"), self._rules.token.encode()):
            await asyncio.sleep(_WRONG_TOKEN_WAITS)
            return HTMLResponse(render("sign_in.html", wrong=True), 401)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(self._rules.cookie, self._pass, httponly=True, samesite="strict", secure=secure)
        return answer


def _own_origin(headers: Headers) -> bool:
    return urlsplit(headers.get("origin", "")).netloc == headers.get("host", "-")


# --- what a page may do --------------------------------------------------------------------------------------

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def policy(page: str) -> str:
    """The content security policy of a page: nothing from elsewhere, and no script but the server's files and its own.

    Streamlit loads the script of a part of ours from a `blob:` of its own making.

    Args:
        page: HTML whose inline scripts may run.
    """
    hashes = " ".join(_hashes(re.findall(r"<script>(.*?)</script>", page, re.DOTALL)))
    return (
        f"default-src 'none'; script-src 'self' blob: {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "media-src 'self' blob:; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "object-src 'none'; frame-ancestors 'none'"
    )


def _hashes(scripts: Iterable[str]) -> Iterable[str]:
    for script in scripts:
        yield f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _streamlits_page() -> str:
    """Streamlit's page as it is served: with the script of `app/served_page.py`."""
    index = Path(st.__file__).with_name("static") / "index.html"
    return index.read_text() + SCRIPT.decode()
