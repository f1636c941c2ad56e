"""The page that Streamlit serves gets a script and a style sheet more, and nothing else is touched."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.served_page import AddToPage

PAGE = b"<!DOCTYPE html><html><head><title>\xc3\xa4</title></head><body><head></body></html>"


def answered(path: str, accept: bytes, kind: bytes, body: list[bytes], status: int = 200) -> tuple[Any, Any, bytes]:
    """What a server behind it was asked with, and what its answer became: headers each, and the body."""
    asked: dict[bytes, bytes] = {}
    sent: list[Any] = []

    async def server(scope: Any, _receive: Any, send: Any) -> None:
        asked.update(scope["headers"])
        length = str(sum(map(len, body))).encode()
        headers = [(b"content-type", kind), (b"content-length", length), (b"etag", b'"1"'), (b"cache-control", b"no")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for at, part in enumerate(body, 1):
            await send({"type": "http.response.body", "body": part, "more_body": at < len(body)})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"accept", accept), (b"accept-encoding", b"gzip"), (b"if-none-match", b'"1"')]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    with ThreadPoolExecutor(1) as other:  # in this thread, a browser of other tests may have a loop of its own
        other.submit(asyncio.run, AddToPage(server)(scope, None, send)).result()  # type: ignore[arg-type]
    return asked, dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


def test_a_page_begins_with_the_scripts_and_ends_with_the_style_sheet() -> None:
    asked, headers, body = answered("/spectrum", b"text/html,*/*", b"text/html; charset=utf-8", [PAGE[:9], PAGE[9:]])
    assert body.startswith(b"<!DOCTYPE html><html><head><script>")
    assert body.count(b"<script>") == body.count(b"</script>") == 1
    assert body.endswith(b"</style></body></html>"), "it wins over what Streamlit has in the head"
    assert re.sub(rb"<script>.*</script>|<style>.*</style>", b"", body, flags=re.DOTALL) == PAGE
    assert int(headers[b"content-length"]) == len(body)
    assert b"etag" not in headers, "it is another page than the file"
    assert headers[b"cache-control"] == b"no"
    assert set(asked) == {b"accept"}, "neither compressed, nor left out as known"


@pytest.mark.parametrize(
    ("accept", "kind", "status"),
    [(b"*/*", b"text/html", 200), (b"text/html", b"text/css", 200), (b"text/html", b"text/html", 404)],
)
def test_all_else_passes(accept: bytes, kind: bytes, status: int) -> None:
    _, headers, body = answered("/static/a", accept, kind, [PAGE], status)
    assert body == PAGE
    assert headers[b"etag"] == b'"1"'
