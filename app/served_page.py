"""Puts two scripts into the page that Streamlit serves, before its own, and the style sheet behind it.

`back.js` makes Back lead from page to page, and `phone_menu.js` closes the list of pages when one was chosen. Nothing
that a page draws could do it: the first change of an address comes before anything is drawn, and the list of pages is
outside of what pages draw. A style sheet that each page draws anew has the browser work out all looks again.
"""

from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SCRIPTS = (Path(__file__).with_name(name).read_bytes() for name in ("back.js", "phone_menu.js"))
SCRIPT = b"<script>" + b"\n".join(_SCRIPTS) + b"</script>"
STYLE = b"<style>" + (Path(__file__).parent / "ui" / "style.css").read_bytes() + b"</style>"
_ASIDE = (b"accept-encoding", b"if-none-match", b"if-modified-since")
"""Of a request: what would have the page compressed, or left out because the browser has one without what is added."""
_OF_THE_FILE = (b"content-length", b"etag", b"last-modified")
"""Of an answer: what would be true of the page without what is added."""


class AddToPage:
    """ASGI middleware: HTML pages begin with the scripts and end with the style sheet, all else passes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or b"text/html" not in dict(scope["headers"]).get(b"accept", b"")
        ):
            await self._app(scope, receive, send)
            return
        asked = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in _ASIDE]}
        await self._app(asked, receive, _Page(send).take)


class _Page:
    """One answer on its way: held until it is whole, if it is a page."""

    def __init__(self, send: Send) -> None:
        self._send, self._body = send, b""
        self._start: Message | None = None

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        body = self._body.replace(b"<head>", b"<head>" + SCRIPT, 1).replace(b"</body>", STYLE + b"</body>", 1)
        headers = [pair for pair in start["headers"] if pair[0] not in _OF_THE_FILE]
        await self._send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self._send({"type": "http.response.body", "body": body})


def _is_page(start: Message) -> bool:
    return start["status"] == 200 and b"text/html" in dict(start["headers"]).get(b"content-type", b"")
