"""Refuses a writer that is known not to write, before anything starts. Imports no torch: pages ask on every change."""

from collections.abc import Mapping

from spd_core.errors import InputError
from spd_core.recipes.writer import Writer


def check_writer(setting: str, writer: Writer, changed: Mapping[str, bool], *, ask: bool) -> None:
    """Refuse servers that nobody named or that do not serve what they should, and a vLLM that is not there.

    Args:
        setting: what the writer is called in the recipe.
        changed: of every arm or subject that writes, whether it is another model than the untouched one.
        ask: also ask each server what it serves, and the environment of vLLM for its version.

    Raises:
        InputError: an arm or subject of that name is not there, or has no server.
        WriterError: nothing answers, or something else does.
    """
    if writer.kind == "vllm":
        from spd_core.engines.serving import vllm_python, vllm_version

        vllm_version() if ask else vllm_python()
    if writer.kind != "openai":
        return
    unknown = sorted({one.of for one in writer.others} - changed.keys())
    if unknown:
        raise InputError(
            f"{setting}.others names {unknown[0]!r}, which writes nothing here; there are {', '.join(changed)}"
        )
    served = [writer.served(name, other) for name, other in changed.items()]
    if ask:
        from spd_core.engines.discovery import connect  # an HTTP client, which a first paint does not wait for

        for one in served:
            connect(one, writer)
