"""Finds code in what a model has written, however it is wrapped. Runs none of it."""

import ast
import re
from collections.abc import Sequence

_BEGINNING = re.compile(r"""\s*((async|def|class|import|from|if|for|with|try)\b|[@#"']|>>>|\w[\w., :]*(=[^=]|\())""")
_ATTEMPTS = 30  # at where code begins, and where it ends: a model may repeat "x = (" for a thousand lines
_DEFINED = re.compile(r"^(?:(?:async )?def |class |(?=\w+ *=[^=]))(\w+)", re.MULTILINE)
_CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AugAssign)


def code_in(text: str, tests: Sequence[str] = ()) -> str:
    """The code of a completion, however it is wrapped; a text without code that parses comes back whole.

    Code may be in a fenced block, or begin at a line before the first fence, which ends it. Taken is the first that
    defines what the tests call, else the first that parses, without prose around it and a statement cut off at its end.
    """
    lines = re.sub(r"\r\n?", "\n", text).split("\n")
    fences = [at for at, line in enumerate(lines) if re.match(r"\s*(?:```|~~~)", line)] + [len(lines)]
    places = [(at, fences[0]) for at in range(fences[0]) if _BEGINNING.match(lines[at])][:_ATTEMPTS]
    places += [(start + 1, stop) for start, stop in zip(fences[::2], fences[1::2], strict=False)]
    found, covered = [], 0
    for start, stop in places:
        if start >= covered and (code := _whole_statements(_at_the_margin(lines[start:stop]))):
            found.append(code)
            covered = start + len(code.split("\n"))
    return next((code for code in found if _defines(code, tests)), found[0] if found else text)


def code_after(prompt: str, text: str) -> str:
    """The code of a completion whose prompt is the beginning of that code, such as a function's header.

    A completion that writes anew what the prompt defines last stands by itself. Else it goes on where the prompt ends,
    up to the first line at the margin: there, something else begins.
    """
    last = [f"{name}()" for name in _DEFINED.findall(prompt)[-1:]]
    anew = code_in(text, last)
    if _defines(anew, last) and isinstance(parsed(anew), ast.Module):
        return anew
    first, *lines = re.sub(r"\r\n?", "\n", text).split("\n")
    end = next((at for at, line in enumerate(lines) if line and not line[0].isspace()), len(lines))
    return prompt + "\n".join([first, *lines[:end]]).rstrip()


def _defines(code: str, tests: Sequence[str]) -> bool:
    """Whether code defines something that the tests call."""
    called = re.findall(r"([^\W\d]\w*)\s*\(", "\n".join(tests))
    return not set(called).isdisjoint(_DEFINED.findall(code))


def _whole_statements(lines: list[str]) -> str:
    """The longest beginning that parses, up to words that merely happen to; empty when there is no code in it."""
    # Cut at the margin alone: half a function is wrong, the half of what comes after it is not its fault.
    margins = [at for at, line in enumerate(lines) if line and not line[0].isspace() and line[0] not in "#)]}"]
    end = len(lines)
    for _ in range(_ATTEMPTS):
        tree = parsed("\n".join(lines[:end]))
        if isinstance(tree, ast.Module):
            prose = next((statement.lineno - 1 for statement in tree.body if _is_prose(statement)), end)
            return "\n".join(lines[:prose]).rstrip()
        end = max((at for at in margins if at < min(end, tree.lineno or end)), default=0)
        if not end:
            break
    return ""


def _at_the_margin(lines: list[str]) -> list[str]:
    """With the first line at the margin, and without the prompts of a Python console."""
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith(">>>"):
        return [line.lstrip()[4:] for line in lines if re.match(r"\s*(?:>>>|\.\.\.)", line)]
    indent = first[: len(first) - len(first.lstrip())]  # a single space is the one after "Code:", the first line's own
    shared = len(indent.expandtabs()) > 1 and all(line.startswith(indent) for line in lines if line.strip())
    return [line[len(indent) :] if shared or line is first else line for line in lines]


def _is_prose(statement: ast.stmt) -> bool:
    """`Done`, or `Output: text`. A call, a string or `...` may be meant."""
    bare = isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Call | ast.Constant | ast.Await)
    return bare or (isinstance(statement, ast.AnnAssign) and statement.value is None)


def parsed(code: str) -> ast.Module | SyntaxError:
    """The syntax tree of code, or why there is none."""
    try:
        tree = ast.parse(code, "completion")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # also a null byte, a thousand brackets
        return error if isinstance(error, SyntaxError) else SyntaxError(str(error) or "nested too deep")
    return tree if any(isinstance(node, _CODE) for node in ast.walk(tree)) else SyntaxError("nothing is defined")
