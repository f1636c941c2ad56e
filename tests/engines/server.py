"""A small server of OpenAI's protocol with a tiny model behind it, which fails on demand.

It writes by `transformers.generate`, and knows nothing of the client that is tested with it.
"""

import copy
import hashlib
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from spd_core.intervention.projection import Lane, folded
from spd_core.models.loading import LanguageModel

NAME = "tiny"


class Server(ThreadingHTTPServer):
    """Serves a lane of a model.

    Attributes:
        faults: what goes wrong, by the place of the request among all; each once. `429`, `500`, `hangs`, `half` (the
            connection ends in the middle), `open` (no reason why it ended), `other` (another model answers), `dies`
            (that and all later ones), `stray` (a token too few).
        asked: bodies of the requests, in their order; `headers` theirs.
        most: requests at a time, at most.
        said: told of each adapter (see `tell`), and who was asked with which seed, a line each.
        refused: names of adapters that are not taken; with `stale` all are taken, and none is used.
    """

    daemon_threads = True

    def __init__(self, lm: LanguageModel, lane: Lane, port: int = 0, **what: Any) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.lm, self.lane, self.name = lm, lane, NAME
        self.faults: dict[int, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.takes_ids = self.tells_ids = self.reads_seeds = self.reads_top_k = True
        self.key, self.context, self.pause, self.version = "", 256, 0.0, "0.1"
        self.program = "tiny-server"
        self.said: Callable[[str], None] = lambda _line: None
        self.adapters: dict[str, Any] = {}
        self.refused: Collection[str] = ()
        self.stale = False
        self.now = self.most = 0
        self.guard, self.writes = threading.Lock(), threading.Lock()
        self.dead, self.release = False, threading.Event()
        for name, value in what.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_about: Any) -> None:
        """Clients hang up: some tests are about that."""

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """What an honest server answers."""
        with self.guard:
            self.said(f"ask {body['model']} {body['seed']}")
        prompt = body["prompt"]
        ids = prompt if isinstance(prompt, list) else self.lm.tokenizer(prompt)["input_ids"]
        top_k = body.get("top_k", 0) if self.reads_top_k else 0
        hot = body["temperature"] > 0
        options = {"temperature": body["temperature"], "top_p": body["top_p"], "top_k": top_k} if hot else {}
        change = nullcontext() if self.lane.subspace is None else folded(self.lm, self.lane)
        with self.writes, torch.random.fork_rng(), change:
            torch.manual_seed(body["seed"] if self.reads_seeds else 0)
            found = self.adapters.get(body["model"], self.lm.model).generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                do_sample=hot,
                max_new_tokens=body["max_tokens"],
                eos_token_id=body["stop_token_ids"],
                return_dict_in_generate=True,
                output_logits=True,
                **options,
            )
        tokens = found.sequences[0, len(ids) :].tolist()
        ended = tokens[-1] in body["stop_token_ids"]
        text = self.lm.tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True)
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": "stop" if ended else "length"}
        if body.get("return_token_ids") and self.tells_ids:
            choice |= {"token_ids": tokens, "prompt_token_ids": ids}
        if body.get("logprobs") is not None:
            rows = zip(tokens, found.logits, strict=True)
            choice["logprobs"] = {"token_logprobs": [float(one[0].log_softmax(-1)[token]) for token, one in rows]}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(tokens)}
        return {"model": body["model"], "choices": [choice], "usage": usage}

    def tell(self, what: str, body: dict[str, str]) -> tuple[int, str]:
        """Load or unload an adapter, and say so, with sha256 of its weights; what is answered."""
        from peft import PeftModel

        name, weights = body["lora_name"], ""
        if name in self.refused:
            return 400, f"no room for {name}"
        if what == "load":
            place = Path(body["lora_path"])
            weights = hashlib.sha256((place / "adapter_model.safetensors").read_bytes()).hexdigest()
            model = copy.deepcopy(self.lm.model)
            self.adapters[name] = model if self.stale else PeftModel.from_pretrained(model, place).eval()
        elif self.adapters.pop(name, None) is None:
            return 404, f"the adapter {name} cannot be found"
        self.said(f"{what} {name} {weights}".strip())
        return 200, "done"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_said: Any) -> None: ...

    def do_GET(self) -> None:
        if self._refused():
            return
        if self.path == "/version" and self.server.version:
            self._send(200, {"version": self.server.version})
        elif self.path == "/v1/models":
            one = {"id": self.server.name, "owned_by": self.server.program, "max_model_len": self.server.context}
            self._send(200, {"data": [one]})
        else:
            self._send(404, {"error": {"message": "no such place"}})

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("_lora_adapter"):
            code, answer = server.tell(self.path.rpartition("/")[2].partition("_")[0], body)
            self._send(code, {"error": {"message": answer}})
            return
        with server.guard:
            at = len(server.asked)
            server.asked.append(body)
            server.headers.append(dict(self.headers))
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            if not self._refused():
                time.sleep(server.pause)
                self._answer(body, server.faults.pop(at, ""))
        finally:
            with server.guard:
                server.now -= 1

    def _refused(self) -> bool:
        if self.server.dead:
            self.close_connection = True
            self.connection.close()
            return True
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self._send(401, {"error": "Unauthorized"})
            return True
        return False

    def _answer(self, body: dict[str, Any], fault: str) -> None:
        if fault == "dies":
            self.server.dead = True
            self.connection.close()
        elif fault == "hangs":
            self.server.release.wait(60)
            self.close_connection = True
        elif fault in ("429", "500"):
            self._send(int(fault), {"error": {"message": "later"}}, {"Retry-After": "0.01"} if fault == "429" else {})
        elif body["model"] not in (self.server.name, *self.server.adapters):
            self._send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif isinstance(body["prompt"], list) and not self.server.takes_ids:
            self._send(400, {"error": {"message": "prompt: a string was expected"}})
        else:
            self._send_answer(self.server.complete(body), fault)

    def _send_answer(self, answer: dict[str, Any], fault: str) -> None:
        if fault == "open":
            answer["choices"][0]["finish_reason"] = None
        if fault == "other":
            answer["model"] = "another"
        if fault == "stray":
            answer["choices"][0]["token_ids"] = answer["choices"][0]["token_ids"][:-1]
        self._send(200, answer, half=fault == "half")

    def _send(self, code: int, said: dict[str, Any], more: dict[str, str] | None = None, half: bool = False) -> None:
        data = json.dumps(said).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        self.close_connection = half


@contextmanager
def serving_tiny(lm: LanguageModel, lane: Lane | None = None, **what: Any) -> Iterator[Server]:
    """A server at work, until the block ends; `what` as its attributes."""
    with Server(lm, lane or Lane(), **what) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            server.shutdown()
