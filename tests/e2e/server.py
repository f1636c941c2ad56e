"""The app in a process of its own, with a home of its own; it can be killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests import ROOT
from tests.waiting import LONG, until


class Server:
    """The app on one port, with a home of its own; it can be killed and started again."""

    def __init__(self, home: Path, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.home, self.log, self.environment = home, home / "server.log", environment
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"),
                   "--server.port", str(self.port)]  # fmt: skip
        with self.log.open("ab") as log:
            environment = {**os.environ, "SPD_HOME": str(self.home), **self.environment}
            self.process = subprocess.Popen(command, cwd=self.home, stdout=log, stderr=subprocess.STDOUT,
                                            env=environment)  # fmt: skip
        wait_until_healthy(f"{self.url}/_stcore/health", self.process)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(LONG)

    def end(self) -> None:
        """Stop it as a user does; its log must be clean."""
        self.kill(signal.SIGINT)
        text = self.log.read_text()
        for word in ("traceback", "deprecat", "not exist anymore"):
            assert word not in text.lower(), text


def own_server(spd_home: Path, home: Path, **environment: str) -> Server:
    """A server whose home has the converted model alone."""
    convert = "from spd_core.models.builtin import builtin_model; builtin_model()"
    subprocess.run([sys.executable, "-c", convert], check=True, cwd=ROOT)
    (home / "models").symlink_to(spd_home / "models")
    return Server(home, **environment)


def wait_until_healthy(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Return when a server that was just started answers."""

    def answers() -> bool:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(url, timeout=LONG):
                return True
        except OSError as error:
            return isinstance(error, urllib.error.HTTPError) and error.code == 401  # it asks for its token

    until(answers, lambda: "the server does not answer")
