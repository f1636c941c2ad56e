"""What is known of a writer before it writes: who it is, and that it will not. Imports no torch.

Pages ask on every change: neither an HTTP client nor a server is loaded or asked unless they say so.
"""

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


def who_writes(writer: Writer, name: str, changed: bool) -> str:
    """What records say of an engine that is to write (see `WrittenBy.writer`), before it does; empty of SPD Lab itself.

    Args:
        name: of the arm or subject; `changed` as of `Writer.named`.

    Raises:
        InputError: no server was named for it.
        WriterError: nothing answers, or something else does; or no vLLM is there.
    """
    if writer.here:
        return ""
    if writer.kind == "vllm":
        from spd_core.engines.serving import vllm_version

        return vllm_version()
    from spd_core.engines.discovery import connect

    return connect(writer.served(name, changed), writer).identity
