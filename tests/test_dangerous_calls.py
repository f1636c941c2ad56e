"""What no code of the project does: read objects that run code when they are read, run code of a model's folder, or
hand a line to a shell. Found in the syntax trees, and so in code that no other test reaches."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from spd_core.storage import ROOT

FILES = sorted(path for folder in ("app", "pages", "spd_core") for path in (ROOT / folder).rglob("*.py"))
RUN_WHEN_READ = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
NEVER = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "yaml.load", "np.load"}
CODE = {"eval", "exec", "compile", "__import__"}
SEALED = "spd_core/sandbox/judge.py"
"""Runs what models have written: in a process of its own, from which nothing leads out."""


def findings(tree: ast.AST, where: str) -> Iterator[str]:
    """`line: what` of all that must not be."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"{node.lineno}: {name}" for name in names if name.partition(".")[0] in RUN_WHEN_READ)
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in NEVER or (called in CODE and where != SEALED):
            yield f"{node.lineno}: {called}"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"{node.lineno}: torch.load without weights_only"
        for word, harmless in (("shell", "False"), ("trust_remote_code", "False"), ("allow_pickle", "False")):
            if given.get(word, harmless) != harmless:
                yield f"{node.lineno}: {word}={given[word]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_does_it(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    assert list(findings(ast.parse(path.read_text("utf-8")), where)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=wanted)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_it_would_be_found(line: str) -> None:
    assert list(findings(ast.parse(line), "app/page.py"))


def test_models_are_loaded_in_one_place_and_without_their_code() -> None:
    loading = ast.parse((ROOT / "spd_core" / "models" / "loading.py").read_text("utf-8"))
    calls = [node for node in ast.walk(loading) if isinstance(node, ast.Call)]
    given = [word for call in calls for word in call.keywords if word.arg == "trust_remote_code"]
    assert [ast.unparse(word.value) for word in given] == ["False"]
