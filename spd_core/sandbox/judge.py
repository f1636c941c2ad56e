"""The two sealed processes in which code stands its tests: the worker executes the code, the judge the tests.

In the judge the code's functions are handles: a call sends plain values to the worker and gets plain values or an
exception back, and the judge compares what it got itself. So nothing that the code does in its own process, not even
a forged message, is more than the result of a call. Refuses to know any other kind of message: no pickle, no objects.
Knows nothing of data sets. Imports little, since every program run pays for it twice.
"""

from __future__ import annotations

import builtins
import os
import sys

from spd_core.sandbox.codec import COPIED, ENDED, NOT_PLAIN, PLAIN, Channel, pack, unpack
from spd_core.sandbox.seal import SealError, limit, seal

TYPE_CHECKING = False  # typing's own would cost each of the two processes 14 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

REASON = 400
"""Characters of the longest reason."""


# --- the worker ----------------------------------------------------------------------------------------------


class _Kept:
    """A value that travels as a handle although it has a plain part."""

    def __init__(self, value: Any) -> None:
        self.value = value


def work(channel: Channel) -> NoReturn:
    """Executes code and answers requests (duty, arguments, keywords) about it, until the judge is gone."""
    module = type(sys)("__main__")
    sys.modules["__main__"] = module  # where dataclasses and others look for the module of a class
    objects: list[Any] = []
    numbers: dict[int, int] = {}  # by identity: the same object is the same handle

    def number_of(value: Any) -> int:
        value = value.value if isinstance(value, _Kept) else value
        if id(value) not in numbers:
            numbers[id(value)] = len(objects)
            objects.append(value)
        return numbers[id(value)]

    duties: dict[str, Callable[..., Any]] = {
        **{"iter": iter, "next": next, "len": len, "bool": bool, "str": str, "repr": repr},
        **{"item": lambda value, key: value[key], "get": getattr, "set": setattr, "call": _call},
        **{"run": lambda setup, code: _run(setup, code, vars(module)), "name": lambda name: _named(name, vars(module))},
    }
    while True:
        try:
            duty, arguments, keywords = unpack(channel.receive(), objects.__getitem__)
        except EOFError:
            os._exit(0)
        channel.send(_answer(duties[duty], arguments, keywords, number_of))


def _run(setup: str, code: str, namespace: dict[str, Any]) -> None:
    try:  # noqa: SIM105 (contextlib would take 10 ms of every run)
        exec(compile(setup, "<setup>", "exec", dont_inherit=True), namespace)
    except Exception:
        pass  # it may need what the code defines; the judge executes it too, after the code, and reports
    exec(compile(code, "<code>", "exec", dont_inherit=True), namespace)


def _named(name: str, namespace: dict[str, Any]) -> Any:
    if name not in namespace:
        raise NameError(f"the code does not define {name}")
    return namespace[name]


def _call(function: Any, /, *arguments: Any, **keywords: Any) -> Any:
    """What a function returns is data; what a test constructs of a class of the code's stays an object."""
    found = function(*arguments, **keywords)
    return _Kept(found) if isinstance(function, type) and type(found) not in PLAIN else found


def _answer(
    action: Callable[..., Any], arguments: Sequence[Any], keywords: dict[str, Any], number_of: Callable[[Any], int]
) -> bytes:
    """The name of the exception ("" for none), the result or its text, and what became of mutable arguments."""
    try:
        name, found = "", action(*arguments, **keywords)
    except BaseException as error:
        name = next(kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
        found = _text(error)
    try:
        return pack((name, found, _mutable(arguments, keywords)), number_of)
    except Exception:  # also what the methods of an own class raise
        return pack(("!", NOT_PLAIN, []), number_of)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:REASON]
    except Exception:
        return "an error that cannot be printed"


def _mutable(arguments: Sequence[Any], keywords: dict[str, Any]) -> list[list[Any] | dict[Any, Any] | set[Any]]:
    return [value for value in (*arguments, *keywords.values()) if isinstance(value, (list, dict, set))]


# --- the judge -----------------------------------------------------------------------------------------------


class _Stop(BaseException):
    """Ends a test, whatever it catches."""


class Worker:
    """The other process, as the judge sees it.

    Attributes:
        broken: why it can be asked no more, or "". Fails the program, even where a test swallows the exception.
    """

    def __init__(self, channel: Channel) -> None:
        self.broken = ""
        self._channel = channel
        self._handles: dict[int, Handle] = {}

    def ask(self, duty: str, /, *arguments: Any, **keywords: Any) -> Any:
        """What the worker answers; lists, dicts and sets among the arguments are brought up to date.

        Raises:
            Exception: what the code raised, as the nearest built-in kind.
        """
        try:
            request = pack((duty, arguments, keywords), _number_of)
        except ValueError as error:
            self.stop(f"a test passes what cannot be handed over: {error}")
        name, found, states = self._exchange(request)
        for mine, state in zip(_mutable(arguments, keywords), states, strict=False):
            _update(mine, state)
        if name == "!":
            self.stop(NOT_PLAIN)
        if name:
            raise _exception(name, str(found), may_stop=duty == "next")
        return found

    def _exchange(self, request: bytes) -> tuple[str, Any, list[Any]]:
        if self.broken:
            raise _Stop
        try:
            self._channel.send(request)
            answer = unpack(self._channel.receive(), self._handle)
        except (OSError, EOFError):
            self.stop(ENDED)
        except ValueError:
            self.stop(NOT_PLAIN)
        if type(answer) is not tuple or [type(part) for part in answer[::2]] != [str, list]:
            self.stop(NOT_PLAIN)
        return answer

    def stop(self, reason: str) -> NoReturn:
        """Ends the run of this program."""
        self.broken = self.broken or reason
        raise _Stop

    def _handle(self, number: int) -> Handle:
        return self._handles.setdefault(number, Handle(self, number))


def _number_of(value: Any) -> int:
    if type(value) is not Handle:
        raise ValueError(f"{type(value).__name__} is no plain value")
    return value._Handle__number  # type: ignore[attr-defined, no-any-return]


def _update(mine: Any, state: Any) -> None:
    if isinstance(mine, type(state)):
        mine.clear()
        (mine.extend if isinstance(mine, list) else mine.update)(state)


def _exception(name: str, text: str, may_stop: bool) -> BaseException:
    """An exception of a built-in kind; of the next more general one where that cannot be made of a text alone."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        kind = Exception
    if issubclass(kind, (StopIteration, StopAsyncIteration)) and not may_stop:
        kind = RuntimeError  # else map() and all() in a test would take it for the end of their values
    while True:
        try:
            return kind(text)  # type: ignore[no-any-return]
        except TypeError:
            kind = kind.__mro__[1]


def _duty(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: self._Handle__worker.ask(name, self, *arguments)


class Handle:
    """An object or function that lives in the worker. It can be used, but not compared: the code would decide."""

    __slots__ = ("__number", "__worker")
    __number: int
    __worker: Worker

    def __init__(self, worker: Worker, number: int) -> None:
        object.__setattr__(self, "_Handle__worker", worker)
        object.__setattr__(self, "_Handle__number", number)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.__worker.ask("call", self, *arguments, **keywords)

    def __refuse(self, _other: object) -> NoReturn:
        self.__worker.stop("compares an object of the code's own, so no plain value was returned")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __refuse
    __hash__ = object.__hash__
    __getattr__, __setattr__, __getitem__ = _duty("get"), _duty("set"), _duty("item")
    __iter__, __next__, __len__, __bool__ = _duty("iter"), _duty("next"), _duty("len"), _duty("bool")
    __str__, __repr__ = _duty("str"), _duty("repr")


def _copied(value: Any) -> Any:
    """A plain value that shares nothing with another one which the code may change."""
    if type(value) in (list, tuple, set):
        return type(value)(_copied(one) for one in value)
    return {key: _copied(one) for key, one in value.items()} if type(value) is dict else value


def judge(
    worker: Worker, code: str, setup: str, imports: str, names: Sequence[str], tests: Sequence[tuple[str, str]]
) -> str:
    """Runs the tests against the code in the worker; why it failed, or "".

    Args:
        imports: what the tests need of the standard library, one statement a line.
        names: what the code must define; nothing else that it defines reaches the tests.
        tests: as they are told, and as they are run (see `run.with_copies`).
    """
    namespace: dict[str, Any] = {"__name__": "__main__", COPIED: _copied}
    try:
        worker.ask("run", setup, code)
        for statement in imports.splitlines():
            exec(statement, namespace)
        for name in names:
            namespace[name] = worker.ask("name", name)
    except BaseException as error:
        return worker.broken or _described(error)
    # Each by itself: an open bracket cannot swallow the next.
    for number, (text, run) in enumerate(((setup, setup), *tests)):
        fault = _fault(run, namespace)
        if worker.broken or fault:
            return worker.broken or f"{f'test {number}' if number else 'the setup of the tests'} {fault}: {text}"
    return ""


def _fault(text: str, namespace: dict[str, Any]) -> str:
    try:
        exec(compile(text, "<test>", "exec", dont_inherit=True), namespace)
    except AssertionError:
        return "failed"
    except BaseException as error:
        return f"raised {_described(error)}"
    return ""


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {_text(error)}".removesuffix(": ")


# --- a process -----------------------------------------------------------------------------------------------


def main(role: str, seconds: str, walls: str, caller: str, other: str = "") -> None:
    """One of the two processes, with its connection as standard input.

    The judge gets its task there and says `+` when the code passes, `-` and the reason when not, and `!` and the
    reason when this machine cannot seal it off.

    Args:
        role: "worker" or "judge".
        walls: "sealed", or anything else to have limits only.
        caller: the process that started this one, and with which it ends.
        other: the judge's connection to the worker.
    """
    end, nothing = os.dup(0), os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    del sys.argv[1:]
    try:
        (seal if walls == "sealed" else limit)(int(seconds))
    except SealError as error:
        os.write(end, f"!{error}".encode())
        return
    if os.getppid() != int(caller):  # it ended before we asked the kernel to end us with it
        return
    if role == "worker":
        work(Channel(end))
    reason = judge(Worker(Channel(int(other))), *unpack(Channel(end).receive(), _no_object))
    os.write(end, f"-{' '.join(reason.split())[:REASON]}".encode("utf-8", "replace") if reason else b"+")


def _no_object(number: int) -> NoReturn:
    raise ValueError(f"a task with an object {number}")
