"""Asks a server of OpenAI's protocol to write: what is asked, what counts as an answer, what is done when none comes.

One prompt a request, as token ids where the server takes them; a seed of its own for each. Knows nothing of corpora or
scores; imports no torch.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
from anyio import sleep
from anyio.from_thread import start_blocking_portal

from spd_core.errors import WriterError
from spd_core.progress import Stop
from spd_core.recipes.lanes import Sampling
from spd_core.recipes.writer import Served, Writer

KEY = "SPD_WRITER_KEY"
"""Environment variable that holds the key of a server; it is written nowhere."""
_LOOK = 0.2  # seconds between two questions whether to stop
CONNECT = 10.0
"""Seconds that a server has to take a connection."""
_LONGEST_WAIT = 60.0  # seconds before a request is made again
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)


@dataclass(frozen=True)
class Ask:
    """One prompt to be continued.

    Attributes:
        number: on which its noise depends.
        ids: the prompt as the model reads it.
        text: the same as text, for servers that take no ids; `special` when the tokenizer adds its own tokens to it.
    """

    number: int
    ids: tuple[int, ...]
    text: str
    special: bool


@dataclass(frozen=True)
class Answer:
    """What a server wrote after one prompt.

    Attributes:
        tokens: ids, the one that ended it among them; None where the server does not tell.
        logprobs: of those tokens, in nats; empty unless they were asked for.
    """

    text: str
    tokens: tuple[int, ...] | None
    finish: Literal["eos", "length"]
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Engine:
    """A server that serves one model.

    Attributes:
        ends: ids that end a completion.
        version: of the program, as it says; empty where it does not.
        takes_ids: whether prompts go as token ids; else as text.
    """

    served: Served
    writer: Writer
    ends: tuple[int, ...] = ()
    version: str = ""
    takes_ids: bool = True

    @property
    def place(self) -> str:
        """What errors call it."""
        return f"{self.served.served_name} at {self.served.url}"

    @property
    def identity(self) -> str:
        """Who writes: the program; where somebody else runs it, also which model where."""
        return self.version if self.writer.kind == "vllm" else f"{self.version} ({self.place})"

    # --- many at a time ----------------------------------------------------------------------------------------

    def write(
        self, asks: Iterable[Ask], sampling: Sampling, stop: Stop | None = None, logprobs: bool = False
    ) -> Iterator[tuple[Ask, Answer]]:
        """Answers in the order in which they arrive; as many requests are on their way as the writer allows, and none
        is made before the answers that are there were taken.

        Args:
            stop: asked several times a second; true gives up what is on its way.

        Raises:
            WriterError: the server refuses, is gone, or does not answer as asked. Nothing of half an answer is yielded.
        """
        waiting, todo = set[Future[tuple[Ask, Answer]]](), iter(asks)
        # A thread of its own has the event loop: the caller's may have one already, as in a notebook.
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(self._client()) as client:
            try:
                while stop is None or not stop():
                    while len(waiting) < self.writer.concurrency and (one := next(todo, None)) is not None:
                        waiting.add(portal.start_task_soon(self._answer, client, one, sampling, logprobs))
                    if not waiting:
                        return
                    done, waiting = wait(waiting, timeout=_LOOK, return_when=FIRST_COMPLETED)
                    for answered in done:
                        yield answered.result()
            finally:
                for asked in waiting:
                    asked.cancel()  # the portal waits for their end

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=f"{self.served.url}/",
            headers=key_header(),
            timeout=httpx2.Timeout(self.writer.timeout, connect=min(CONNECT, self.writer.timeout)),
            limits=httpx2.Limits(max_connections=self.writer.concurrency),
            trust_env=not on_this_machine(self.served.url),  # a proxy does not lead to this machine
        )

    async def _answer(
        self, client: httpx2.AsyncClient, ask: Ask, sampling: Sampling, logprobs: bool
    ) -> tuple[Ask, Answer]:
        """One answer, asked for again while the server may still give one."""
        body = self.request(ask, sampling, logprobs)
        reason, pause = "", 0.0
        for attempt in range(self.writer.tries):
            if attempt:
                await sleep(pause)
            pause = min(_LONGEST_WAIT, 0.5 * 2**attempt)
            try:
                response = await client.post("completions", json=body)
                if response.status_code not in _AGAIN:
                    return ask, self.answer(response, ask, sampling)
                reason = said(response)
                pause = _asked_to_wait(response, pause)
            except httpx2.TransportError as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
            except _HalfAnswerError as error:
                reason = str(error)
        raise WriterError(
            f"{self.place} gave no answer in {self.writer.tries} tries ({reason}); every row before is kept. "
            f"See whether the server at {self.served.url} still runs, start it again, and resume"
        )

    # --- what is asked, and what is taken ----------------------------------------------------------------------

    def request(self, ask: Ask, sampling: Sampling, logprobs: bool = False) -> dict[str, Any]:
        """The body of a request. Everything is said: servers fill gaps from the checkpoint's own settings."""
        body: dict[str, Any] = {
            "model": self.served.served_name,
            "prompt": list(ask.ids) if self.takes_ids else ask.text,
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed_of(sampling.seed, ask.number),
            "n": 1,
            "stream": False,
            "stop_token_ids": list(self.ends),  # from here on vLLM's and SGLang's own; others leave them unread
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "return_token_ids": True,
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if not self.takes_ids:
            body["add_special_tokens"] = ask.special
        return {**body, "logprobs": 0} if logprobs else body

    def answer(self, response: httpx2.Response, ask: Ask, sampling: Sampling) -> Answer:
        """A whole answer to what was asked.

        Raises:
            WriterError: the server refuses, or another model has answered, or another prompt was read.
            _HalfAnswerError: something is missing.
        """
        if response.status_code != 200:
            raise WriterError(f"{self.place} refuses: {said(response)}; correct the setting, or choose another server")
        try:
            whole = response.json()
            choice = whole["choices"][0]
            text, finish, found = choice["text"], choice["finish_reason"], choice.get("token_ids")
            usage = whole.get("usage") or {}
            logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or ()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise _HalfAnswerError(f"half an answer: {response.text[:80]!r}") from error
        if whole.get("model", self.served.served_name) != self.served.served_name:
            raise WriterError(f"{self.place} answers with {whole['model']!r}, another model; nothing of it is kept")
        if not isinstance(text, str) or finish not in ("stop", "length"):
            raise _HalfAnswerError(f"it ended with {finish!r}")
        self._check_read(choice.get("prompt_token_ids"), usage.get("prompt_tokens"), ask)
        tokens = None if found is None else tuple(found)
        written = usage.get("completion_tokens")
        if tokens is not None and (written not in (None, len(tokens)) or len(tokens) > sampling.max_new_tokens):
            raise _HalfAnswerError(f"{len(tokens)} token ids of {written} tokens")
        if tokens is not None and finish == "length" and len(tokens) < sampling.max_new_tokens:
            raise _HalfAnswerError(f"cut after {len(tokens)} of {sampling.max_new_tokens} tokens")
        return Answer(text, tokens, "eos" if finish == "stop" else "length", tuple(logprobs))

    def _check_read(self, ids: Sequence[int] | None, count: int | None, ask: Ask) -> None:
        if (ids is not None and tuple(ids) != ask.ids) or (ids is None and count not in (None, len(ask.ids))):
            read = f"{len(ids)} other tokens" if ids is not None else f"{count} tokens"
            raise WriterError(
                f"{self.place} reads the prompt {ask.text[:30]!r}… as {read}, and the model here as {len(ask.ids)}; it "
                "serves a model with another tokenizer, or adds tokens of its own"
            )


class _HalfAnswerError(Exception):
    """An answer that is not whole; it is asked for again."""


def seed_of(seed: int, number: int) -> int:
    """The seed of a request, from 0 to 2³¹ − 1: of the recipe's seed and the prompt's number alone, hashed, so that
    neighbours never meet (servers count on from a seed where several answers are asked for)."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()) >> 1


def key_header() -> dict[str, str]:
    key = os.environ.get(KEY, "")
    return {"Authorization": f"Bearer {key}"} if key else {}


def on_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def said(response: httpx2.Response) -> str:
    """What a server says of a failure, in a line."""
    words: Any = response.text
    with suppress(ValueError, AttributeError):
        found = response.json().get("error", words)
        words = found.get("message", words) if isinstance(found, dict) else found
    return f"{response.status_code}, {' '.join(str(words).split())[:200] or response.reason_phrase}"


def _asked_to_wait(response: httpx2.Response, otherwise: float) -> float:
    """Seconds that a server asks to be left alone (`Retry-After`), within reason."""
    with suppress(ValueError):
        return min(_LONGEST_WAIT, max(0.0, float(response.headers.get("retry-after", otherwise))))
    return otherwise
