"""Finds out who answers at a URL before anything is written: which models it serves, what it is. Imports no torch."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from spd_core.engines.client import CONNECT, KEY, Engine, key_header, on_this_machine, said
from spd_core.errors import WriterError
from spd_core.recipes.writer import Served, Writer


def connect(served: Served, writer: Writer, ends: Sequence[int] = (), tokens: int = 0) -> Engine:
    """A server that answers, and serves the model of that name.

    Args:
        tokens: longest prompt and completion together.

    Raises:
        WriterError: nothing answers there, it wants a key, serves other models, or has too short a context.
    """
    with httpx2.Client(headers=key_header(), timeout=CONNECT, trust_env=not on_this_machine(served.url)) as client:
        models = _listed(client, served.url)
        version = _version(client, served.url)
    found = models.get(served.served_name)
    if found is None:
        raise WriterError(
            f"the server at {served.url} does not serve {served.served_name!r}, but "
            f"{', '.join(sorted(models)) or 'nothing'}; correct served_name, or start the server with that model"
        )
    context = found.get("max_model_len")
    if isinstance(context, int) and tokens > context:
        raise WriterError(
            f"the server at {served.url} holds {context} tokens of {served.served_name}, and the longest prompt with "
            f"its completion needs {tokens}; start it with a longer context, or allow fewer new tokens"
        )
    program = str(found.get("owned_by") or "a server")
    return Engine(served, writer, tuple(sorted(ends)), f"{program} {version}".strip())


def _listed(client: httpx2.Client, url: str) -> dict[str, dict[str, Any]]:
    """What a server serves, by name."""
    try:
        response = client.get(f"{url}/models")
    except httpx2.TransportError as error:
        raise WriterError(
            f"nothing answers at {url} ({type(error).__name__}: {error}); start the server, or correct the url"
        ) from error
    if response.status_code in (401, 403):
        raise WriterError(
            f"the server at {url} wants a key; set {KEY} in the environment of the app, and start it again"
        )
    try:
        response.raise_for_status()
        return {str(one["id"]): one for one in response.json()["data"]}
    except (httpx2.HTTPStatusError, ValueError, LookupError, TypeError) as error:
        raise WriterError(
            f"{url}/models is no list of models ({said(response)[:80]}); give the url of an OpenAI-compatible server, "
            "which mostly ends with /v1"
        ) from error


def _version(client: httpx2.Client, url: str) -> str:
    """What vLLM says at /version; empty of others."""
    parts = urlsplit(url)
    with suppress(httpx2.HTTPError, ValueError, LookupError, TypeError):
        return str(client.get(urlunsplit((parts.scheme, parts.netloc, "/version", "", ""))).json()["version"])
    return ""


def answers(url: str) -> bool:
    """Whether a server of the protocol answers there."""
    with suppress(WriterError), httpx2.Client(timeout=CONNECT, trust_env=False) as client:
        return bool(_listed(client, url))
    return False
