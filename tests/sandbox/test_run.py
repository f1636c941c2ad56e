"""Code of a model in the sandbox: what passes, what does not, every way out that we know, and real rows."""

import ast
import itertools
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from spd_core.data.capability import Example
from spd_core.data.catalog import find_capability
from spd_core.data.public import read_public
from spd_core.errors import InputError
from spd_core.sandbox import run
from spd_core.sandbox.run import Verdict, check_isolation, code_allowed, run_tests
from tests.waiting import LONG, until

ADD = "def add(a, b):\n    return a + b\n"
TESTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]
WRONG = "def add(a, b):\n    return 0\n"


@pytest.fixture(autouse=True, scope="module")
def a_machine_that_isolates() -> None:
    """The tests need a machine that can isolate: a failure in CI, a skip elsewhere."""
    missing = check_isolation()
    if missing:
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)


def marked() -> list[psutil.Process]:
    """Live processes that this test session's trials started."""
    found = psutil.process_iter(["cmdline", "status"])
    mark = f"trial={os.getpid()}"
    return [one for one in found if mark in (one.info["cmdline"] or ())]  # a zombie has none


@pytest.fixture
def unharmed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short trials; afterwards no process is left, no child of ours waits to be reaped, and right code passes."""
    monkeypatch.setattr(run, "CODE_SECONDS", 2)
    python, *rest = run._PYTHON
    monkeypatch.setattr(run, "_PYTHON", (python, "-X", f"trial={os.getpid()}", *rest))
    children, files = set(psutil.Process().children()), len(os.listdir("/proc/self/fd"))
    yield
    assert marked() == []
    assert set(psutil.Process().children()) <= children
    assert len(os.listdir("/proc/self/fd")) == files
    assert run_tests(ADD, TESTS).passed


def outcome(body: str, *arguments: object) -> str:
    """What happens when the body of a function `attempt(x, …)` is executed in the sandbox: "done" or an exception."""
    names = ", ".join(f"x{at}" for at in range(len(arguments)))
    code = f"def attempt({names}):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n    return 'done'"
    told = run_tests(code, [f"raise LookupError(attempt({', '.join(map(repr, arguments))}))"])
    assert not told.passed
    return told.reason.removeprefix("test 1 raised ").removeprefix("LookupError: ").split(":")[0]


# --- what passes ---------------------------------------------------------------------------------------------

NODE = "class Node:\n    def __init__(self, value):\n        self.value, self.next = value, None\n"


@pytest.mark.parametrize(
    ("code", "tests", "setup"),
    [
        pytest.param(ADD, TESTS, "", id="plain"),
        pytest.param("def f(): return pi", ["assert f() > 3"], "from math import pi", id="setup"),
        pytest.param(
            "from __future__ import annotations\ndef f(x: Later): return x", ["assert f(1) == 1"], "", id="future"
        ),
        pytest.param("print('x' * 10**6)\ndef f(): return 1", ["assert f() == 1"], "", id="prints"),
        pytest.param("def f(): return 1", ["x = [\n  f(),\n]", "assert x == [1]"], "", id="names of the tests"),
        pytest.param("def f(n): return 'x' * n", ["assert len(f(2**20)) == 2**20"], "", id="1 MiB"),
        pytest.param(f"def f(): return len({'1' * 200_000!r})", ["assert f() == 200_000"], "", id="long code"),
        pytest.param("def f(x): x.append(1); return x", ["x = [0]\nf(x)\nassert x == [0, 1]"], "", id="list changed"),
        pytest.param("def f(x): x['a'] = 1", ["x = {'b': 2}\nf(x=x)\nassert x == {'b': 2, 'a': 1}"], "", id="dict"),
        pytest.param("def f(x): x.add(1)", ["x = set()\nf(x)\nassert x == {1}"], "", id="set changed"),
        pytest.param(
            "def f(x): x.pop(); raise ValueError('odd')",
            ["x = [1]\ntry: f(x)\nexcept ValueError as e: assert str(e) == 'odd' and x == []\nelse: assert False"],
            "",
            id="exception",
        ),
        pytest.param(
            "class Own(KeyError): pass\ndef f(): raise Own",
            ["try: f()\nexcept KeyError: pass\nelse: assert 0"],
            "",
            id="own exception",
        ),
        pytest.param(
            "def f(): b'\\xff'.decode()", ["try: f()\nexcept ValueError: pass\nelse: assert 0"], "", id="unicode error"
        ),
        pytest.param("def f(n):\n    yield from range(n)", ["assert list(f(3)) == [0, 1, 2]"], "", id="generator"),
        pytest.param("def f(n):\n    yield n", ["x = f(3)\nassert next(x) == 3 and next(x, 7) == 7"], "", id="next"),
        pytest.param("f = lambda x: map(str, x)", ["assert tuple(f([1, 2])) == ('1', '2')"], "", id="map"),
        pytest.param("import re\nf = lambda x: re.match('a', x)", ["assert f('a')\nassert not f('b')"], "", id="truth"),
        pytest.param(NODE, ["x = Node(1)\nx.next = Node(2)\nassert x.next.value == 2"], "", id="objects"),
        pytest.param(f"{NODE}def f(x): return x.value", ["assert f(top) == 5"], "top = Node(5)", id="setup needs code"),
        pytest.param(
            "from collections import namedtuple\nPair = namedtuple('Pair', 'a b')\ndef f(x): return x[0].b",
            ["assert f([Pair(1, 2)]) == 2", "assert Pair(1, 2).a == 1 and len(Pair(1, 2)) == 2"],
            "",
            id="a class with a plain part",
        ),
        pytest.param(
            "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'", ["assert A(3).x == 3"], "",
            id="dataclass",
        ),
        pytest.param(
            "from collections import Counter\ndef f(x): return Counter(x)", ["assert f('aab') == {'a': 2, 'b': 1}"], "",
            id="subclass of dict",
        ),
        pytest.param("def f(): return 0.1", ["assert math.isclose(f(), 0.1)"], "", id="module of the tests"),
        pytest.param("def f(x, y): return x if x else y", ["assert f('', b'') == b''"], "", id="empty"),
    ],
)  # fmt: skip
def test_right_code_passes(code: str, tests: list[str], setup: str) -> None:
    assert run_tests(code, tests, setup) == Verdict(True, "")


VALUES = (
    "None", "True", "-1", "0.1", "float('inf')", "-0.0", "1 - 2j", "'ä\\ud800'", "b'\\0'", "(1, [2, {3: {4}}])",
    "frozenset({1})", "2 ** 20000", "{(1, None): {'a'}}", "()", "{}", "set()",
)  # fmt: skip


def test_plain_values_arrive_as_they_are() -> None:
    tests = [f"assert f({x}) == {x} and type(f({x})) is type({x}) and repr(f({x})) == repr({x})" for x in VALUES]
    tests = ["import sys; sys.set_int_max_str_digits(0)", *tests, "x = f(float('nan'))\nassert x != x"]
    assert run_tests("def f(x): return x", tests) == Verdict(True, "")


def test_what_the_reference_defines_comes_from_the_code() -> None:
    """Also under the name of a built-in function; and nothing else does."""
    total, tests = "def sum(a, b):\n    return a + b\n", ["assert sum(1, 2) == 3"]
    assert run_tests(total, tests, reference=total) == Verdict(True, "")
    assert run_tests(total.replace("+", "-"), tests, reference=total).reason == f"test 1 failed: {tests[0]}"
    assert run_tests("x = 1", tests, reference=total).reason == "NameError: the code does not define sum"
    assert run_tests(ADD, TESTS, reference="def (").passed  # one that cannot be read counts as none


def test_what_the_tests_import_by_the_reference_is_not_the_codes() -> None:
    reference = "import os.path\nfrom math import floor as down\ndef f(x): return down(x)"
    tests = ["assert down(f(2.5)) == 2 and os.path.basename('a/b') == 'b'"]
    assert run_tests("def f(x): return int(x)", tests, reference=reference) == Verdict(True, "")
    assert not run_tests("def f(x): return 9\ndown = lambda x: 2", tests, reference=reference).passed
    missing = run_tests(
        "def f(x): return 1", ["assert np.all(f(1))"], reference="import numpy_ as np\ndef f(x): return 1"
    )
    assert missing.reason == "ModuleNotFoundError: No module named 'numpy_'"


# --- what does not -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "no code"),
        (" \n", "no code"),
        ("# nothing", "NameError: the code does not define add"),
        ("I cannot.", "SyntaxError: invalid syntax"),
        (WRONG, "test 1 failed: assert add(1, 2) == 3"),
        ("def add(a, b): return 3", "test 2 failed: assert add(2, 2) == 4"),
        ("def add(a): return 3", "test 1 raised TypeError: add() takes 1 positional argument but 2 were given"),
        ("add = 3", "test 1 raised TypeError: 'int' object is not callable"),
        ("\0", "source code string cannot contain null bytes"),
        ("\ud800", "surrogates not allowed"),
        ("if True:", "IndentationError: expected an indented block"),
        ("x = '''", "SyntaxError: unterminated triple-quoted string literal"),
        ("(" * 10_000, "too many nested parentheses"),
        (f"raise ValueError({'x' * 10**5!r})", "ValueError: xxx"),
        ("raise SystemExit", "SystemExit"),
        ("exit()", "NameError: name 'exit' is not defined"),
        (f"{'#' * 2**22}\n{ADD}", "the code is too long"),
        ("def add(a, b): return lambda: 3", "compares an object of the code's own, so no plain value was returned"),
    ],
)
def test_wrong_code_does_not_pass_and_the_reason_is_told(code: str, reason: str) -> None:
    found = run_tests(code, TESTS)
    assert not found.passed
    assert reason in found.reason
    assert len(found.reason) <= 400


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ([], "no tests"),
        (["assert add(1, 2"], "test 1 raised SyntaxError"),
        (["x = [", "assert add(1, 2) == 4", "]"], "test 1 raised SyntaxError"),
        (["assert True", "'''", "assert add(1, 2) == 4", "'''"], "test 2 raised SyntaxError"),
        (["assert add(1, 2) == three"], "NameError: the code does not define three"),
        (["open('/etc/passwd')"], "test 1 raised PermissionError"),  # tests are sealed off as well
        (["exit()"], "test 1 raised NameError"),
        (["raise SystemExit(0)"], "test 1 raised SystemExit"),
        (["import os; os._exit(0)"], "ended before the tests were over"),
        (["add(print, 1)"], "a test passes what cannot be handed over: builtin_function_or_method is no plain value"),
        (["try: add(print, 1)\nexcept: pass"], "a test passes what cannot be handed over"),
    ],
)
def test_bad_tests_do_not_pass(tests: list[str], reason: str) -> None:
    found = run_tests(ADD, tests)
    assert (found.passed, found.reason[: len(reason)]) == (False, reason)


def test_tests_without_an_end_are_ended(unharmed: None) -> None:
    assert run_tests(ADD, ["while True: pass"]) == Verdict(False, "out of time (2 s)")


# --- tricks: none may make a false assertion true ------------------------------------------------------------

YES = "__eq__ = __ge__ = __le__ = __contains__ = lambda *_: True\n    __ne__ = lambda *_: False\n    __hash__ = None\n"


def always(base: str, value: str = "") -> str:
    return f"class Yes({base}):\n    {YES}\ndef add(a, b): return Yes({value})"


TRICKS = {
    "os._exit": "import os\nos._exit(0)",
    "os._exit in a call": "import os\ndef add(a, b): os._exit(0)",
    "sys.exit": "import sys\ndef add(a, b): sys.exit(0)",
    "SystemExit": "def add(a, b): raise SystemExit(0)",
    "KeyboardInterrupt": "def add(a, b): raise KeyboardInterrupt",
    "StopIteration": "def add(a, b): raise StopIteration",
    "GeneratorExit": "def add(a, b): raise GeneratorExit",
    "AssertionError is another": f"import builtins\nclass E(Exception): pass\nbuiltins.AssertionError = E\n{WRONG}",
    "exec and compile patched": f"import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\n{WRONG}",
    "print patched": f"import builtins\nbuiltins.print = builtins.len = builtins.isinstance = lambda *a: True\n{WRONG}",
    "equal to all": always("object"),
    "equal to all, of type int": always("int", "0"),
    "equal to all, of type str": always("str"),
    "equal to all, of type float": always("float"),
    "equal to all, of type list": always("list"),
    "equal to all, of type dict": always("dict"),
    "equal to all, of type tuple": always("tuple"),
    "equal to all, as the function": f"class Yes:\n    {YES}    __call__ = lambda s, *a: s\nadd = Yes()",
    "a type that is equal to all": f"class M(type):\n    {YES}class Yes(metaclass=M): pass\ndef add(a, b): return Yes",
    "atexit": f"import atexit, os\natexit.register(lambda: os._exit(0))\n{WRONG}",
    "trace": (
        "import sys\ndef jump(frame, event, arg):\n    try: frame.f_lineno += 1\n    except ValueError: pass\n"
        f"    return jump\nsys.settrace(jump)\nsys._getframe().f_trace = jump\n{WRONG}"
    ),
    "profile": f"import sys, os\nsys.setprofile(lambda *a: os._exit(0) if a[1] == 'call' else None)\n{WRONG}",
    "frames": (
        "import sys\ndef add(a, b):\n    frame = sys._getframe()\n    while frame:\n"
        "        frame.f_globals.update(_answer=lambda *a: b'', pack=lambda *a: b'n0:')\n"
        "        frame = frame.f_back\n    return 0"
    ),
    "gc": (
        "import gc\nfor one in gc.get_objects():\n    if isinstance(one, dict) and 'assert add(1, 2) == 3' in map(str, "
        "list(one.values())): one.clear()\n" + WRONG
    ),
    "our packing patched": f"import sys\nsys.modules['spd_core.sandbox.codec'].pack = lambda *a: b'n1:1'\n{WRONG}",
    "our answer patched": (
        "import sys\nt = sys.modules['spd_core.sandbox.judge']\nt._answer = lambda *a: t.pack(('', Yes(), []), id)\n"
        f"class Yes(int):\n    {YES}\n{WRONG}"
    ),
    "names of the tests": f"{WRONG}def set(x): return 3\nTrue_ = 1\nassertion = None",
    "closes everything": f"import os\nos.closerange(0, 64)\n{WRONG}",
    "writes a passing word": (
        f"import os\nfor fd in range(64):\n    try: os.write(fd, b'+')\n    except OSError: pass\n{WRONG}"
    ),
    "forges exceptions": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'0000001at3:u13:StopIterationu0:l0:')\n"
        f"    except OSError: pass\n{WRONG}"
    ),
    "forges results": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'0000000dt3:u0:n1:1l0:' * 9)\n"
        f"    except OSError: pass\n{WRONG}"
    ),
    "forges malformed replies": (
        "import os\ndef add(a, b):\n    for fd in range(3, 64):\n        try: os.write(fd, b'00000007l99999:')\n"
        "        except OSError: pass\n    return 0"
    ),
    "returns itself for ever": "def add(a, b):\n    x = []\n    x.append(x)\n    return x",
    "nested deep": "def add(a, b):\n    x = 3\n    for _ in range(10**5): x = [x]\n    return x",
    "nested wide": "def add(a, b):\n    x = 3\n    for _ in range(60): x = [x, x]\n    return x",
    "enormous": "def add(a, b): return 'x' * 2**26",
    "enormous number": "def add(a, b): return 1 << 2**28",
    "endless generator": "def add(a, b):\n    while True: yield 3",
    "NaN": "def add(a, b): return float('nan')",
    "a lambda": "def add(a, b): return lambda: a + b",
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_passes(trick: str, unharmed: None) -> None:
    assert not run_tests(TRICKS[trick], TESTS[:1]).passed
    assert not run_tests(TRICKS[trick], TESTS[:1], reference=ADD).passed
    assert not run_tests(TRICKS[trick], ["try: assert add(1, 2) == 3\nexcept ImportError: pass"]).passed


@pytest.mark.parametrize("trick", [name for name in TRICKS if name.startswith("equal to all")])
def test_such_tricks_pass_in_one_process(trick: str) -> None:
    assert plain_passes(TRICKS[trick], TESTS)


@pytest.mark.parametrize(
    "test",
    [
        "assert all(map(lambda x: add(x, 1) == x + 1, [1, 2]))",  # StopIteration would end the map
        "assert add(1, 2) in [3]",
        "assert [add(1, 2)] == [3]",
        "assert {'a': add(1, 2)} == {'a': 3}",
        "assert not add(1, 2) != 3",
        "assert sorted([add(1, 2), 3]) == [3, 3]",
        "assert 3 == add(1, 2)",
        "assert math.isclose(add(1, 2), 3)",
        "assert len({add(1, 2), 3}) == 1",
    ],
)
@pytest.mark.parametrize("trick", ["StopIteration", "equal to all", "equal to all, of type int", "a lambda"])
def test_no_trick_passes_other_kinds_of_tests(trick: str, test: str) -> None:
    assert run_tests(ADD, [test]).passed
    assert not run_tests(TRICKS[trick], [test]).passed


@pytest.mark.parametrize("name", ["len", "set", "sorted", "sum", "isinstance", "abs", "math", "AssertionError"])
def test_names_that_the_tests_use_are_not_the_codes(name: str) -> None:
    code = (
        f"class Yes:\n    {YES}    __getattr__ = __call__ = lambda s, *a: s\n{name} = Yes()\ndef f(*a): return [2, 1]\n"
    )
    tests = {
        "len": "assert len(f()) == 3",
        "set": "assert set(f()) == {1}",
        "sorted": "assert sorted(f()) == [1]",
        "sum": "assert sum(f()) == 4",
        "isinstance": "assert isinstance(f(), tuple)",
        "abs": "assert abs(f()[0] - 1) < 0.1",
        "math": "assert math.isclose(f()[0], 1)",
        "AssertionError": "assert f() == [1]",
    }
    assert run_tests(code, [tests[name]]).reason == f"test 1 failed: {tests[name]}"
    reference = f"import math\ndef f(): return [{name}]"
    assert run_tests(code, [tests[name]], reference=reference).reason == f"test 1 failed: {tests[name]}"


# --- harm: what runs away ------------------------------------------------------------------------------------

RUNAWAYS = {
    "endless loop": "while True: pass",
    "endless call": "def add(a, b):\n    while True: pass",
    "endless, signals ignored": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass"
    ),
    "endless, exceptions caught": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "sleeps": "import time\ntime.sleep(60)\ndef add(a, b): return a + b",  # right, if it may take its time
    "waits for input": "input()",
    "memory bomb": "x = []\nwhile True: x.append(bytearray(2**26))",
    "memory bomb, caught": (
        "def add(a, b):\n    x = []\n    while True:\n        try: x.append(bytearray(2**20))\n"
        "        except MemoryError: pass"
    ),
    "3 GiB": "x = bytearray(3 * 2**30)",
    "output": "while True: print('x' * 2**16)",
    "raw output": (
        "import os\nwhile True:\n    for fd in range(64):\n        try: os.write(fd, b'x' * 2**16)\n"
        "        except OSError: pass"
    ),
    "many files": "for at in range(10**6): open(f'/tmp/spd-bomb-{at}', 'wb').write(bytes(2**20))",
    "fork bomb": "import os\nwhile True: os.fork()",
    "fork bomb, caught": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "threads": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()",
    "crash": "import ctypes\nctypes.string_at(0)",
    "stack": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
}  # fmt: skip


@pytest.mark.parametrize("runaway", RUNAWAYS)
def test_runaway_code_is_ended(runaway: str, unharmed: None) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    assert not run_tests(
        RUNAWAYS[runaway] + "\ndef add(a, b): return 0" * ("def add" not in RUNAWAYS[runaway]), TESTS
    ).passed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16
    assert not os.path.exists("/tmp/spd-bomb-0")


def test_an_interrupted_caller_leaves_nothing(unharmed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: socket.socket, size: int) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(socket.socket, "recv", interrupted)
        run_tests("while True: pass", TESTS)


def test_the_processes_end_with_a_caller_that_is_killed(unharmed: None) -> None:
    program = f"""from spd_core.sandbox import run
run._PYTHON = {run._PYTHON!r}
run.run_tests("import time; time.sleep(60)", ["assert f()"])"""
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=run._ROOT)
    until(lambda: len(marked()) == 2)
    caller.kill()
    caller.wait()
    until(lambda: not marked())


def test_a_process_that_starts_after_its_caller_ended_does_nothing() -> None:
    """The kernel ends it with its caller from the moment it asks for that; the caller may be gone before."""
    ours, theirs = socket.socketpair()  # ours stays open, so that it could wait for a request for ever
    with ours, theirs:
        arguments = (run._ROOT, "worker", "5", "sealed", "999999999")
        subprocess.run([*run._PYTHON, *arguments], stdin=theirs.fileno(), timeout=LONG, check=True)


# --- harm: files ---------------------------------------------------------------------------------------------


def state(folder: Path) -> dict[Path, tuple[int, ...]]:
    """What can be seen of the files below a folder, but for when they were read."""
    found = {path: path.stat() for path in folder.rglob("*")}
    return {path: (one.st_mode, one.st_size, one.st_mtime_ns, one.st_nlink) for path, one in found.items()}


@pytest.mark.parametrize(
    "body",
    [
        "open(x0 + '/new', 'w')",
        "open(x0 + '/old', 'a')",
        "open(x0 + '/old', 'r+')",
        "import os; os.open(x0 + '/old', os.O_RDONLY | os.O_TRUNC)",
        "import os; os.open(x0, os.O_RDWR | os.O_TMPFILE)",
        "import os; os.remove(x0 + '/old')",
        "import os; os.rename(x0 + '/old', x0 + '/new')",
        "import os; os.link(x0 + '/old', x0 + '/new')",
        "import os; os.symlink(x0 + '/old', x0 + '/new')",
        "import os; os.mkdir(x0 + '/new')",
        "import os; os.mkfifo(x0 + '/new')",
        "import os; os.truncate(x0 + '/old', 0)",
        "import os; os.chmod(x0 + '/old', 0)",
        "import os; os.utime(x0 + '/old', (0, 0))",
        "import os; os.rmdir(x0 + '/folder')",
        "import shutil; shutil.rmtree(x0)",
        "import os; os.setxattr(x0 + '/old', 'user.a', b'1')",
        "import os; os.chroot(x0)",
        "import os; os.memfd_create('x')",
        "import tempfile; tempfile.mkdtemp(dir=x0)",
    ],
)
def test_nothing_is_written(tmp_path: Path, body: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "old").write_text("kept")
    before = state(tmp_path)
    assert outcome(body, str(tmp_path)) == "PermissionError"
    assert state(tmp_path) == before
    assert (tmp_path / "old").read_text() == "kept"


@pytest.mark.parametrize("folder", [Path.home(), Path("/tmp"), Path("/dev/shm"), Path("/"), Path(os.__file__).parent])
def test_no_file_is_made_anywhere(folder: Path) -> None:
    name = folder / f"spd-{os.getpid()}"
    assert outcome("open(x0, 'w')", str(name)) == "PermissionError"
    assert outcome("open(x0, 'w')", name.name) == "PermissionError"
    assert not name.exists()
    assert not Path(name.name).exists()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "/proc/{parent}/environ", "/proc/self/maps", "{secret}"]
)
def test_nothing_of_the_user_is_read(tmp_path: Path, path: str) -> None:
    secret = tmp_path / "token"
    secret.write_text("hf_secret")
    name = path.format(parent=os.getpid(), secret=secret)
    assert Path(name).exists()
    assert outcome("open(x0, 'rb').read()", name) == "PermissionError"
    assert outcome("import os\nos.listdir(x0)", os.path.dirname(name)) == "PermissionError"


def test_the_environment_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPD_SECRET", "hf_secret")
    code = "import os, sys\ndef f(): return dict(os.environ), sys.argv, sys.path"
    found = run_tests(
        code, ["environ, argv, path = f()\nassert set(environ) <= {'LC_CTYPE'} and argv in ([''], ['-c'])", TREE]
    )
    assert found == Verdict(True, "")


TREE = f"assert not any('site-packages' in part or part == {str(Path(__file__).parents[2])!r} for part in f()[2])"


# --- harm: network -------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize(
    "body",
    [
        "import socket; socket.create_connection(('127.0.0.1', x0), 1)",
        "import socket; socket.create_server(('127.0.0.1', 0))",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', x0))",
        "import socket; socket.socket(socket.AF_INET6, socket.SOCK_STREAM)",
        "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
        "import socket; socket.socketpair()",
        "import urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{x0}', timeout=1)",
        "import ctypes\nif ctypes.CDLL(None).socket(2, 1, 0) < 0: raise PermissionError",
        # the connection that there is cannot be turned against another address
        "import socket\nfor fd in range(3, 64):\n    try: end = socket.socket(2, 1, 0, fileno=fd)\n"
        "    except OSError: continue\n    try: end.connect(('127.0.0.1', x0))\n    finally: end.detach()",
    ],
)
def test_no_network(listener: socket.socket, body: str) -> None:
    assert outcome(body, listener.getsockname()[1]) in ("PermissionError", "OSError")  # urllib makes it an OSError
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_listener_would_be_reached(listener: socket.socket) -> None:
    socket.create_connection(listener.getsockname()).close()
    listener.accept()[0].close()


# --- harm: processes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "import os; os.fork()",
        "import os; os.execv('/bin/sleep', ['/bin/sleep', '60.125'])",
        "import os; os.posix_spawn('/bin/sleep', ['/bin/sleep', '60.125'], {})",
        "import os\nif os.system('sleep 60.125') != 0: raise PermissionError",
        "import subprocess; subprocess.run(['/bin/sleep', '60.125'])",
        "import multiprocessing; multiprocessing.Process(target=print).start()",
        "import os; os.kill(-1, 9)",
        "import os; os.kill(0, 9)",
        "import os; os.kill(os.getppid(), 9)",
        "import os; os.kill(x0, 0)",
        "import os; os.killpg(x0, 0)",
        "import os; os.setsid()",
        "import os; os.setpgid(0, 0)",
        "import os; os.setuid(0)",
        "import os; os.pipe()",
        "import os; os.nice(1)",
        "import os; os.sched_setaffinity(0, {0})",
        "import os; os.pidfd_open(x0)",
        "import signal; signal.raise_signal(15)",
        "import signal; signal.alarm(1); raise PermissionError",  # has no error; must do nothing
        "import fcntl; fcntl.fcntl(0, fcntl.F_SETOWN, x0)",
        "import fcntl; fcntl.ioctl(0, 0x5412, b'x')",
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (60, 60))",
        "import resource; resource.prlimit(x0, resource.RLIMIT_CPU, (0, 0))",
        "import ctypes\nif ctypes.CDLL(None).fork() < 0: raise PermissionError",
        "import ctypes\nif ctypes.CDLL(None).ptrace(16, x0, 0, 0) < 0: raise PermissionError",
        "import ctypes\nif ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) < 0: raise PermissionError",
        "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) < 0: raise PermissionError",
        "import ctypes\nif ctypes.CDLL(None).mount(b'/', b'/', b'', 4096, 0) < 0: raise PermissionError",
    ],
)
def test_no_process_is_started_stopped_or_changed(body: str, unharmed: None) -> None:
    assert outcome(body, os.getpid()) in ("PermissionError", "ValueError")  # ValueError: setrlimit's own
    assert not [one for one in psutil.process_iter(["cmdline"]) if "60.125" in (one.info["cmdline"] or ())]


CALLS = {
    101,
    165,
    169,
    175,
    246,
    250,
    272,
    280,
    298,
    304,
    308,
    310,
    311,
    317,
    321,
    323,
    424,
    425,
    426,
    427,
    434,
    437,
    438,
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
def test_raw_system_calls_are_refused() -> None:
    """ptrace, mount, reboot, keyctl, seccomp, bpf, userfaultfd, io_uring, pidfd and their like, by number.

    Also with the bit of the x32 machine, under which the same kernel would answer to other numbers.
    """
    body = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nfor at in x0:\n"
    body += "    if libc.syscall(at, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1: return str(at)"
    assert outcome(body, sorted(CALLS)) == "done"
    assert outcome(body, [0x40000000 + at for at in range(0, 600) if at not in (15, 60, 231)]) == "done"


# --- the caller ----------------------------------------------------------------------------------------------


def test_trials_side_by_side(unharmed: None) -> None:
    """Each gets its own verdict, from several threads at once."""
    codes = [ADD, WRONG, "while True: pass", "import os; os._exit(0)"] * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda code: run_tests(code, TESTS).passed, codes))
    assert found == [True, False, False, False] * 3


@pytest.mark.parametrize(
    ("value", "allowed"), [(None, False), ("", False), ("0", False), ("1", True), ("unisolated", True)]
)
def test_code_runs_when_the_user_allows_it(monkeypatch: pytest.MonkeyPatch, value: str | None, allowed: bool) -> None:
    monkeypatch.delenv("SPD_ALLOW_CODE", raising=False)
    if value is not None:
        monkeypatch.setenv("SPD_ALLOW_CODE", value)
    assert code_allowed() is allowed


def on_another_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes find themselves on a machine without Landlock."""
    *python, program = run._PYTHON
    lie = "import spd_core.sandbox.seal as i; i._LANDLOCK_CREATE = 1023; "
    monkeypatch.setattr(
        run, "_PYTHON", (*python, program.replace("from spd_core.sandbox.judge", f"{lie}from spd_core.sandbox.judge"))
    )


def test_no_code_runs_where_it_cannot_be_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    on_another_kernel(monkeypatch)
    for attempt in (lambda: run_tests(ADD, TESTS), lambda: run_tests("import os; os._exit(0)", TESTS)):
        with pytest.raises(InputError, match="no Landlock .*SPD_ALLOW_CODE=unisolated"):
            attempt()
    assert "no Landlock" in check_isolation()


def test_unisolated_code_runs_with_limits_alone(monkeypatch: pytest.MonkeyPatch, unharmed: None) -> None:
    on_another_kernel(monkeypatch)
    monkeypatch.setenv("SPD_ALLOW_CODE", "unisolated")
    assert check_isolation() == ""
    assert run_tests(ADD, TESTS).passed
    assert outcome("open('/etc/passwd')") == "done"  # what is then missing
    for trick in ("os._exit", "equal to all", "AssertionError is another", "our packing patched"):
        assert not run_tests(TRICKS[trick], TESTS).passed
    assert not run_tests(RUNAWAYS["memory bomb"], TESTS).passed


def test_a_python_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_PYTHON", (sys.executable, "-c", "raise SystemExit(1)"))
    assert "is the Python at" in check_isolation()
    assert run_tests(ADD, TESTS) == Verdict(False, "ended before the tests were over")


# --- agreement with the slow, obvious way --------------------------------------------------------------------


def plain_passes(code: str, tests: Sequence[str], setup: str = "") -> bool:
    """The same in this process, for code that we trust."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        for part in (setup, code, *tests):
            exec(compile(part, "<part>", "exec", dont_inherit=True), namespace)
    except Exception:
        return False
    return True


def broken(code: str) -> str:
    """The same code, each function of which returns None at once."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body.insert(0, ast.Return(ast.Constant(None)))
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.fixture(scope="module")
def real(datasets_folder: Path) -> list[Example]:
    """Every row of MBPP that is here, and the built-in Python functions."""
    rows = [read_public("mbpp", path).examples for path in sorted(datasets_folder.glob("mbpp.*.jsonl"))]
    return [*itertools.chain(*rows), *find_capability("python-functions").examples]


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("told", [True, False], ids=["with reference", "without"])
def test_reference_solutions_pass_and_broken_ones_do_not(real: list[Example], told: bool) -> None:
    assert len(real) >= 200
    chosen = real if told else real[::4]

    def disagrees(example: Example) -> str:
        reference = example.answer if told else ""
        right, wrong = example.answer, broken(example.answer)
        verdicts = [run_tests(code, example.tests, example.setup, reference) for code in (right, wrong)]
        expected = [plain_passes(code, example.tests, example.setup) for code in (right, wrong)]
        agreed = [verdict.passed for verdict in verdicts] == expected == [True, False]
        return "" if agreed else f"{example.id}: {verdicts}"

    with ThreadPoolExecutor(2) as pool:
        assert [found for found in pool.map(disagrees, chosen) if found] == []


# --- arguments that the code changes ---------------------------------------------------------------------------------

CHEAT = "def f(a):\n    a.clear()\n    return []\n"
IN_PLACE = "def f(a):\n    a.sort()\n"


@pytest.mark.parametrize(
    ("code", "tests", "passes"),
    [
        (CHEAT, ["a = [2, 1]\nassert f(a) == sorted(a)"], False),
        (CHEAT, ["a = [2, 1]\nassert sorted(a) == f(a=a)"], False),
        (CHEAT, ["a = [[2], [1]]\nassert len(f(a)) == len(a)"], False),
        ("def f(a):\n    a[0].clear()\n    return [[]]\n", ["a = [[2]]\nassert f(a) == a"], False),
        ("def f(a):\n    return sorted(a)\n", ["a = [2, 1]\nassert f(a) == sorted(a)"], True),
        (IN_PLACE, ["a = [2, 1]\nf(a)\nassert a == [1, 2]"], True),
        (IN_PLACE, ["a = [2, 1]\nassert f(a) is None and a == [1, 2]"], True),
        ("def f(a, n):\n    return a * n\n", ["n = 2\nassert f([1], n) == [1] * n"], True),
    ],
)
def test_code_that_changes_its_argument_does_not_decide_what_it_is_compared_with(
    code: str, tests: list[str], passes: bool
) -> None:
    assert run_tests(code, tests).passed is passes


def test_a_test_is_told_as_it_was_written() -> None:
    test = "a = [2, 1]\nassert f(a)  ==  sorted(a)  # of mine"
    assert "assert f(a) == sorted(a) # of mine" in run_tests(CHEAT, [test]).reason
