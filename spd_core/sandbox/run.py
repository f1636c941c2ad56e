"""Runs code that a language model wrote against an example's tests, and says whether it passed.

Two sealed processes do it (`judge.py`, `seal.py`); this file starts and ends them, and decides which
names of the code the tests may see. Trusts neither: the code cannot make a test true that is not, and the tests, which
come from a file too, are sealed off as well. Code can use Python's standard library; it can write no file, reach no
network, and start no process or thread.

By hand, as a library does not help: RestrictedPython rewrites source text and is, in its own words, no sandbox;
bubblewrap and nsjail are programs that a user would have to install, and say nothing of who may decide a verdict.
"""

import ast
import builtins
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from symtable import SymbolTable, symtable

from spd_core.errors import InputError
from spd_core.sandbox.codec import COPIED, ENDED, pack

CODE_SECONDS = 10
"""Wall-clock seconds that code and its tests have together."""

ALLOW = "SPD_ALLOW_CODE"
"""Environment variable by which the user allows to run code that a model wrote: "1", or UNISOLATED."""

UNISOLATED = "unisolated"

_ROOT = str(Path(__file__).resolve().parents[2])
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from spd_core.sandbox.judge import main; sys.path.pop(); "
    "main(*sys.argv[2:])"
)
_PYTHON = (sys.executable, "-I", "-S", "-X", "utf8", "-c", _PROGRAM)  # without site: standard library alone
_REFUSED = (SyntaxError, ValueError, RecursionError, MemoryError)  # what parsing raises


@dataclass(frozen=True)
class Verdict:
    """Whether code passed its tests.

    Attributes:
        reason: why not, in a short sentence for people; "" when it passed.
    """

    passed: bool
    reason: str


def code_allowed() -> bool:
    """Whether the user allows to run code that a model wrote."""
    return os.environ.get(ALLOW) in ("1", UNISOLATED)


def check_isolation() -> str:
    """Why this machine cannot isolate code, with the remedy; "" when it can. Tries it (about 50 ms)."""
    try:
        verdict = run_tests("def one(): return 1", ["assert one() == 1"])
    except (InputError, OSError) as error:
        return str(error)
    if verdict.passed:
        return ""
    return f"right code did not pass ({verdict.reason}); is the Python at {sys.executable} in order?"


def run_tests(code: str, tests: Sequence[str], setup: str = "", reference: str = "") -> Verdict:
    """Whether code passes its tests, within CODE_SECONDS.

    Tests can call, construct and iterate what the code defines, and compare plain values. They cannot pass it
    functions or objects of their own, nor compare objects of its classes: that fails, with the reason.

    With SPD_ALLOW_CODE=unisolated code runs without Landlock and seccomp: limits on time, memory and file size hold,
    and it still cannot pass by a trick within its own process; but it has the user's rights over files, network,
    processes (also over the judge's), and what it starts may outlive the run.

    Args:
        setup: executed before the tests, and before the code too as far as it does not need it.
        reference: the data set's own solution. The tests see what it defines, of the code; without one, the names
            that the tests use and that are neither built in nor defined by the setup.

    Raises:
        InputError: this machine cannot isolate the code.
    """
    if not code.strip() or not tests:
        return Verdict(False, "no tests" if code.strip() else "no code")
    names, imports = _seen(tests, setup, reference)
    try:
        task = pack((code, setup, imports, names, [(test, with_copies(test)) for test in tests]), id)
    except ValueError:
        return Verdict(False, "the code is too long")
    reply = _reply(b"%08x" % len(task) + task) if os.name == "posix" else b"!only Linux can, and this is Windows"
    kind, reason = reply[:1], reply[1:].decode("utf-8", "replace")
    if kind == b"!":
        raise InputError(
            f"cannot isolate code that a model wrote: {reason}; score it on such a machine, "
            f"or set {ALLOW}={UNISOLATED} to run it with your own rights"
        )
    return Verdict(kind == b"+", reason)


# --- the two processes ---------------------------------------------------------------------------------------


def _reply(task: bytes) -> bytes:
    """What the judge says to a task."""
    ours, judges = socket.socketpair()
    asking, answering = socket.socketpair()
    with ours, judges, asking, answering, _process("worker", answering), _process("judge", judges, asking):
        for end in (judges, asking, answering):
            end.close()  # only the processes hold them now, so that we notice when one ends
        ours.settimeout(CODE_SECONDS)
        try:
            ours.sendall(task)
            return ours.recv(2**12) or f"-{ENDED}".encode()
        except TimeoutError:
            return f"-out of time ({CODE_SECONDS} s)".encode()
        except OSError:  # the judge is gone
            return f"-{ENDED}".encode()


@contextmanager
def _process(role: str, end: socket.socket, *others: socket.socket) -> Iterator[None]:
    """A process of `judge.main`, in a session of its own; killed at the end, with all that it started."""
    walls = UNISOLATED if os.environ.get(ALLOW) == UNISOLATED else "sealed"
    numbers = [other.fileno() for other in others]
    process = subprocess.Popen(
        [*_PYTHON, _ROOT, role, str(CODE_SECONDS), walls, *map(str, (os.getpid(), *numbers))],
        cwd="/",
        env={},
        stdin=end.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=numbers,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError, PermissionError):  # it has ended; the second is macOS' word for that
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# --- what the tests see of the code --------------------------------------------------------------------------


def _seen(tests: Sequence[str], setup: str, reference: str) -> tuple[list[str], str]:
    """Names of the code that the tests use; and imports that they need, which must not come from the code."""
    texts = (setup, *tests)
    bound = {name for text in texts for name in _bound(text, imports=True)}
    used = {name for text in texts for name in _used(text)} - bound
    own = _bound(reference)
    modules = (used & _modules(texts)) - own
    names = used & own if own else used - modules - set(dir(builtins))
    imports = [f"import {name}" for name in modules] + _imports(reference, used - modules)
    return sorted(names), "\n".join(imports)


def _bound(text: str, imports: bool = False) -> set[str]:
    """Names that a text defines in its outermost scope; and on demand those that it imports."""
    symbols = [symbol for table in _tables(text)[:1] for symbol in table.get_symbols()]
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or (imports and symbol.is_imported())}


def _used(text: str) -> set[str]:
    """Names that a text takes from its outermost scope, or from beyond."""
    symbols = [symbol for table in _tables(text) for symbol in table.get_symbols()]
    return {symbol.get_name() for symbol in symbols if symbol.is_global() and symbol.is_referenced()}


def _modules(texts: Sequence[str]) -> set[str]:
    """Modules of the standard library of which an attribute is taken, e.g. math in `math.isclose(f(1), 2)`."""
    nodes = [node for text in texts for node in _nodes(text) if isinstance(node, ast.Attribute)]
    return {node.value.id for node in nodes if isinstance(node.value, ast.Name)} & sys.stdlib_module_names


def with_copies(test: str) -> str:
    """A test in which a call gets a copy of a variable with which its result is compared, as in `f(a) == a`: code that
    changes its argument would decide what it is compared with. Whether two are one object stays as it is."""
    try:
        tree = ast.parse(test)
    except _REFUSED:
        return test
    asserted = [one for node in ast.walk(tree) if isinstance(node, ast.Assert) for one in ast.walk(node.test)]
    copied = False
    for compared in (node for node in asserted if isinstance(node, ast.Compare)):
        if any(isinstance(kind, (ast.Is, ast.IsNot)) for kind in compared.ops):
            continue
        sides = [compared.left, *compared.comparators]
        named = [{node.id for node in ast.walk(side) if isinstance(node, ast.Name)} for side in sides]
        for at, side in enumerate(sides):
            others = {name for number, names in enumerate(named) if number != at for name in names}
            for call in [node for node in ast.walk(side) if isinstance(node, ast.Call)]:
                copied |= _copy_arguments(call, others)
    return ast.unparse(ast.fix_missing_locations(tree)) if copied else test


def _copy_arguments(call: ast.Call, named: Collection[str]) -> bool:
    """Have a call copy those of its arguments that are variables of these names; whether there are any."""

    def copy(value: ast.expr) -> ast.expr:
        return ast.Call(ast.Name(COPIED, ast.Load()), [value], [])

    found = False
    for at, value in enumerate(call.args):
        if isinstance(value, ast.Name) and value.id in named:
            call.args[at], found = copy(value), True
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Name) and keyword.value.id in named:
            keyword.value, found = copy(keyword.value), True
    return found


def _imports(reference: str, used: Collection[str]) -> list[str]:
    """The reference's import statements that give a name which the tests use."""
    nodes = [node for node in _nodes(reference) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return [ast.unparse(node) for node in nodes if _given(node) & {*used, "*"}]


def _given(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {alias.asname or alias.name.partition(".")[0] for alias in node.names}


def _nodes(text: str) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(text)))
    except _REFUSED:
        return []


def _tables(text: str) -> list[SymbolTable]:
    """The scopes of a text, the outermost first; none when Python cannot parse it."""
    try:
        found = [symtable(text, "<text>", "exec")]
    except _REFUSED:
        return []
    for table in found:  # grows while it is walked
        found += table.get_children()
    return found
