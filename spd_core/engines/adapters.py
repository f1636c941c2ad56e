"""Puts an adapter beside the model that a vLLM serves, for as long as it is needed. Imports no torch."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx2

from spd_core.engines.client import Engine, key_header, on_this_machine, said
from spd_core.errors import InputError, WriterError

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for


def room_for(rank: int) -> int:
    """The smallest rank that vLLM makes room for and that an adapter of `rank` fits into.

    Raises:
        InputError: there is none.
    """
    found = next((one for one in _RANKS if one >= rank), None)
    if found is None:
        raise InputError(
            f"train.lora_r {rank}: vLLM takes adapters up to rank {_RANKS[-1]}, and the student writes through it; "
            "choose a lower one, or the writer local"
        )
    return found


@contextmanager
def with_adapter(engine: Engine, name: str, folder: Path) -> Iterator[Engine]:
    """The same server asked for its model with an adapter, which is taken away when the block ends.

    Args:
        name: what the server is to call it; no other may be called so while it is there.
        folder: peft's files of it.

    Raises:
        WriterError: the server does not answer, or does not take it.
    """
    _tell(engine, "load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
    try:
        yield replace(engine, served=engine.served.model_copy(update={"served_name": name}))
    except BaseException:
        with suppress(WriterError):  # why the block failed is worth more
            _tell(engine, "unload_lora_adapter", {"lora_name": name})
        raise
    _tell(engine, "unload_lora_adapter", {"lora_name": name})


def _tell(engine: Engine, what: str, body: dict[str, str]) -> None:
    url = engine.served.url
    try:
        response = httpx2.post(
            f"{url}/{what}",
            json=body,
            headers=key_header(),
            timeout=engine.writer.timeout,
            trust_env=not on_this_machine(url),
        )
    except httpx2.TransportError as error:
        raise WriterError(
            f"the server at {url} gave no answer to {what} of {body['lora_name']} ({type(error).__name__}: {error}); "
            "every step before is kept. Resume: that starts it again"
        ) from error
    if response.status_code != 200:
        raise WriterError(
            f"the server at {url} refuses {what} of {body['lora_name']}: {said(response)}; every step before is kept. "
            "See its log and resume, or choose the writer local"
        )
