"""Readers of files that others may have made, and files made wrong on purpose for them: by `tests/test_fuzz.py` a few
of each, by `benchmarks/fuzz.py` thousands.

Each input is a real file of its kind in which something was changed: a value of its JSON, its lines, its bytes, the
header of its tensors. A reader may return a value, which is then used as a page would, or raise an `SpdError` whose
sentence can be shown. Anything else is a fault.
"""

import io
import json
import random
import tarfile
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from spd_core.errors import SpdError
from spd_core.storage import ASSETS
from tests import ROOT

Files: TypeAlias = dict[str, bytes]
"""Content by the path below the folder that a reader is given."""
RUN, TABLE = "20261125-005334-arithmetic-2ffa9f0", "20261125-005401-arithmetic-10d8e3b"
LONGEST_SENTENCE = 3000


@dataclass(frozen=True)
class Reader:
    """A reader, with files that it can read.

    Attributes:
        mutable: files that are changed; all by default.
        read: reads them from a folder, and uses what it has read.
    """

    name: str
    files: Files
    read: Callable[[Path], object]
    mutable: tuple[str, ...] = ()


Outcome: TypeAlias = Literal["read", "refused", "fault"]


def outcome_of(reader: Reader, files: Files, folder: Path) -> tuple[Outcome, str]:
    """What a reader makes of files, which are written into a folder; what it says where it makes nothing of them."""
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    try:
        reader.read(folder)
    except SpdError as error:
        wrong = _unfit(str(error))
        return ("fault", wrong) if wrong else ("refused", str(error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error!s:.160}"
        return "fault", said.encode("utf-8", "backslashreplace").decode()
    return "read", ""


def _unfit(sentence: str) -> str:
    """Why a sentence cannot be shown."""
    try:
        sentence.encode()
    except UnicodeEncodeError as error:
        return f"a message that is no text: {error}"
    if not sentence.strip():
        return "an empty message"
    return f"a message of {len(sentence):,} characters" if len(sentence) > LONGEST_SENTENCE else ""


# --- changes -----------------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**400, -(10**400), 0.5, 1e308, float("inf"), float("-inf"),
    float("nan"), "", " ", "0", "-1", "\ud800", "a\udfffb", "\0", "x" * 5000, "é\u202e\U0001d518", "../../etc/passwd",
    "/etc/passwd", "nan", "answer", [], {}, [[]], [None], ["a"], [0, -1], [[0, 10**9]], [[5, 2]], {"a": 1}, {"": None},
    {"\ud800": "\ud800"}, [[1, 2, 3]], "2026-01-01T00:00:00", "regex:(", {"regex": "(a+)+$"}, {"ranges": [[0, 99999]]},
)  # fmt: skip
DEEP = b"[" * 50_000


def changed(files: Files, mutable: tuple[str, ...], noise: random.Random) -> Files:
    """The same files, one or two of them (rarely none, or without one) made wrong."""
    found = dict(files)
    for _ in range(noise.choice((1, 1, 1, 2))):
        name = noise.choice(mutable or tuple(files))
        if name not in found:
            continue
        if noise.random() < 0.02:
            del found[name]
            continue
        found[name] = _changed_file(name, found[name], noise)
    return found


def _changed_file(name: str, data: bytes, noise: random.Random) -> bytes:
    if noise.random() < 0.2:
        return _changed_bytes(data, noise)
    try:
        return _changed_as(name.rpartition(".")[2], data, noise)
    except (
        ValueError,
        RecursionError,
        LookupError,
        TypeError,
        OverflowError,
    ):  # it was changed before, past being of a kind
        return _changed_bytes(data, noise)


def _changed_as(kind: str, data: bytes, noise: random.Random) -> bytes:
    if kind == "safetensors":
        return _changed_tensors(data, noise)
    if kind == "json":
        return _changed_json(data, noise)
    if kind == "jsonl":
        return _changed_lines(data, noise)
    if kind == "zip":
        return _changed_zip(data, noise)
    return _changed_csv(data, noise) if kind == "csv" else _changed_bytes(data, noise)


def _changed_bytes(data: bytes, noise: random.Random) -> bytes:
    at, end = sorted(noise.randrange(len(data) + 1) for _ in range(2))
    return noise.choice(
        (
            lambda: data[:at],
            lambda: data[:at] + data[end:],
            lambda: data[:at] + data[at:end] * 2 + data[end:],
            lambda: data[:at] + noise.randbytes(noise.randrange(1, 20)) + data[at:],
            lambda: data[:at] + bytes([noise.randrange(256)]) + data[at + 1 :],
            lambda: b"",
            lambda: DEEP,
            lambda: b"\xff\xfe" + data,
            lambda: b"\xef\xbb\xbf" + data,
            lambda: data + b"\0",
            lambda: noise.randbytes(200),
        )
    )()


def _changed_json(data: bytes, noise: random.Random) -> bytes:
    value = json.loads(data)
    if noise.random() < 0.05:
        return _dumped(noise.choice(ODD))
    for _ in range(noise.choice((1, 1, 2, 4))):
        value = _changed_value(value, noise)
    return _dumped(value)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


def _changed_value(value: Any, noise: random.Random) -> Any:
    """A JSON value in which one place is another: replaced, gone, doubled, renamed, wrapped."""
    places = list(_places(value))
    if not places or noise.random() < 0.02:
        return noise.choice(ODD)
    holder, key = (
        noise.choice(places) if noise.random() < 0.5 else min(noise.sample(places, min(8, len(places))), key=_size)
    )
    act = noise.randrange(8)
    if act == 0 and isinstance(holder, dict):
        del holder[key]
    elif act == 1 and isinstance(holder, dict):
        holder[noise.choice(("format", "more", "", "\ud800", "id"))] = noise.choice(ODD)
    elif act == 2 and isinstance(holder, list):
        holder.append(holder[key])
    elif act == 3 and isinstance(holder, list):
        del holder[key]
    elif act == 4:
        holder[key] = noise.choice(([holder[key]], {"a": holder[key]}, str(holder[key])[:2000]))
    elif act == 5 and isinstance(holder[key], int | float):
        holder[key] = noise.choice((-holder[key], holder[key] + 1, float(holder[key]), str(holder[key])))
    else:
        holder[key] = noise.choice(ODD)
    return value


def _size(place: tuple[Any, Any]) -> int:
    """Prefers places that are not one of a thousand alike."""
    return len(place[0])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _changed_lines(data: bytes, noise: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = noise.randrange(len(lines))
    if noise.random() < 0.8:
        lines[at] = _changed_json(lines[at] or b"{}", noise)
    elif noise.random() < 0.5:
        lines.insert(at, lines[noise.randrange(len(lines))])
    else:
        lines[at] = _changed_bytes(lines[at], noise)
    return b"\n".join(lines)


def _changed_csv(data: bytes, noise: random.Random) -> bytes:
    word = noise.choice((b'"', b",", b";", b"\r", b"\n", b"\t", b'""', b"{", b"[1, 2", b"\0", b"prompt", b"\xe9"))
    at = noise.randrange(len(data) + 1)
    return data[:at] + word * noise.choice((1, 1, 2, 300)) + data[at + noise.randrange(3) :]


def _changed_tensors(data: bytes, noise: random.Random) -> bytes:
    """Tensors with another header, or other numbers."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    act = noise.randrange(5)
    if act == 0:
        return noise.choice((0, 1, size + 1, 2**40, 2**63)).to_bytes(8, "little") + data[8:]
    if act == 1:
        return data[: 8 + size] + data[8 + size :][: noise.randrange(len(data))]
    if act == 2:  # not finite, or large
        odd = noise.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f"))
        at = 8 + size + 4 * noise.randrange(max(1, (len(data) - 8 - size) // 4))
        return data[:at] + odd + data[at + 4 :]
    if act == 3 and header:
        name = noise.choice(list(header))
        found = header[name]
        if isinstance(found, dict) and "shape" in found:
            shape = list(found["shape"])
            found["shape"] = noise.choice((shape[::-1], [*shape, 1], shape[1:], [-1], [2**62, 4], "a"))
            found["dtype"] = noise.choice((found["dtype"], "F64", "I32", "BF16", "BOOL", "F8_E4M3", "X", 7))
        if noise.random() < 0.3:
            header[noise.choice(("", "more", name + "/more", "\ud800"))] = header.pop(name)
    else:
        header = _changed_value(header, noise)
    written = _dumped(header)
    return len(written).to_bytes(8, "little") + written + data[8 + size :]


def _changed_zip(data: bytes, noise: random.Random) -> bytes:
    """A bundle with a changed manifest, or a changed file whose sum the manifest knows."""
    import hashlib

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, EOFError):
        return _changed_bytes(data, noise)
    name = noise.choice(list(files)) if noise.random() < 0.7 else "manifest.json"
    files[name] = _changed_file(name, files[name], noise)
    if name != "manifest.json":
        manifest = json.loads(files["manifest.json"])
        for thing in manifest["things"]:
            if name in thing["files"]:
                digest = hashlib.sha256(files[name]).hexdigest()
                thing["files"][name] = {"size": len(files[name]), "sha256": digest}
        files["manifest.json"] = json.dumps(manifest).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for one, content in files.items():
            made.writestr(one, content)
    return out.getvalue()


# --- readers -----------------------------------------------------------------------------------------------------


def readers(home: Path) -> dict[str, Reader]:
    """All readers by their names; what they read is unpacked into `home`, once."""
    with tarfile.open(ROOT / "tests" / "saved" / "home-before-packages.tar.xz") as archive:
        archive.extractall(home, filter="data")
    run, table = home / "runs" / RUN, home / "runs" / TABLE
    capture = next((home / "captures").iterdir())
    text = next((home / "texts").glob("*.json"))
    answers = next((home / "evaluations").iterdir())
    demo = ASSETS / "demo"
    found = [
        Reader("capture", _files(capture), _read_capture),
        Reader("shell capture", _files(home / "by-shell"), _read_capture),
        Reader("direction notes", {"notes.json": _notes()}, _read_notes),
        Reader("adapter", _files(run / "adapters" / "spd", "*.json", "*.safetensors"), _read_adapter),
        Reader("capability", {"a.jsonl": (home / "capabilities" / "doubles.jsonl").read_bytes()}, _read_capability),
        Reader("spans", {"a.jsonl": _SPANS}, _read_capability),
        Reader("import of jsonl", {"a.jsonl": _ROWS}, lambda folder: _import(folder / "a.jsonl")),
        Reader("import of csv", {"a.csv": _CELLS}, lambda folder: _import(folder / "a.csv")),
        Reader("recipe", {"a.json": json.dumps(_RECIPE).encode()}, _read_recipe),
        Reader("evaluation recipe", {"a.json": json.dumps(_EVALUATION).encode()}, _read_evaluation),
        Reader("table", _files(table, "run.json", "status.json", "cells/*"), _read_table),
        Reader("corpus", {"a.jsonl": (run / "corpora" / "spd-round-1.jsonl").read_bytes()}, _read_corpus),
        Reader("audits", {"a.jsonl": _first_lines(demo / "audits" / "arithmetic" / "audits.jsonl", 6)}, _read_audits),
        Reader("text", {"a.json": _renamed(text, "a")}, _read_text),
        Reader("repeat", {"a.json": _renamed(demo / "repeats" / "arithmetic.json", "a", 3)}, _read_repeat),
        Reader("run", _files(run, "run.json", "status.json", "events.jsonl") | _REMARKS, _read_run),
        Reader("answers", _files(answers, "*.json*"), _read_answers),
        Reader("labels", {"library/labels.json": _LABELS}, _read_labels),
        Reader("bundle", {"a.zip": _bundle(home)}, _read_bundle),
    ]
    return {reader.name: reader for reader in found}


def _first_lines(path: Path, lines: int) -> bytes:
    return b"".join(path.read_bytes().splitlines(keepends=True)[:lines])


def _files(folder: Path, *patterns: str) -> Files:
    paths = {path for pattern in patterns or ("*",) for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def _renamed(path: Path, name: str, prompts: int | None = None) -> bytes:
    found = json.loads(path.read_bytes()) | {"id": name}
    if prompts:
        found["prompts"] = found["prompts"][:prompts]
    return json.dumps(found).encode()


_ROWS = b"""{"capability": "sums", "template": "Q: {prompt}", "spans": "number", "scorer": "number"}
{"id": "a", "split": "train", "prompt": "2 + 2?", "answer": "It is 4."}
{"id": "b", "split": "calibration", "prompt": "2 + 3?", "answer": "It is 5.", "spans": [[6, 7]]}
{"question": "What is a?", "answer": "#### 4", "tests": ["assert f(1) == 1"], "setup": "import math"}
{"id": 7, "split": "Test", "prompt": "2 + 4?", "answer": 6, "spans": {"regex": "(\\\\d)", "in": "answer"}}
"""
_SPANS = b"""{"capability": "sums", "template": "Q: {prompt}", "spans": {"regex": "\\\\d+"}, "scorer": "number"}
{"id": "a", "split": "train", "prompt": "2 + 2?", "answer": "It is 4.", "spans": "after:is"}
{"id": "b", "split": "calibration", "prompt": "2 + 3?", "answer": "It is 5.", "spans": [[6, 7]]}
{"id": "c", "prompt": "2 + 3?", "answer": "def f(): return 5", "spans": "tests", "tests": ["assert f() == 5"]}
{"id": "d", "prompt": "2 + 3?", "answer": "5", "spans": {"ranges": [[0, 1], [2, 3]], "in": "prompt"}}
"""
_CELLS = b"""prompt,answer,id,split,tests,spans
2 + 2?,It is 4.,a,train,,
"2 + ""3""?","5, then",b,heldout,"[""assert 1""]","[[0, 1]]"
2 + 4?,6,c,calibration,,
"""
_RECIPE = {
    "preset": "quick",
    "capability": "arithmetic",
    "arms": ["psr", "spd", "contrast"],
    "capture": {"examples": 30, "rank": "energy:0.9", "without": ["multiple-choice"]},
    "corpus": {"prompts": 48, "temperature": 0.5, "drop": ["empty"]},
    "train": {"epochs": 2, "patience": 1},
    "seed": 7,
}
_EVALUATION = {
    "preset": "quick",
    "capability": "arithmetic",
    "subjects": ["base", "projected", {"kind": "projected", "capture": "arithmetic", "strength": 0.5}],
    "sets": ["arithmetic", {"capability": "multiple-choice"}],
    "seeds": [1, 2],
}
_REMARKS = {
    "tags.json": b'["a", "b"]',
    "rejected.json": b'{"spd": [1, 2]}',
    "notes.txt": b"seen",
    "sources.json": b"{}",
}
_LABELS = json.dumps(
    {"format": 1, "labels": {"capture:arithmetic": {"title": "a", "tags": ["b"], "note": "c"}, f"run:{RUN}": {}}}
).encode()


def _notes() -> bytes:
    note = {"layer": 15, "kind": "key", "direction": 1, "name": "sum", "remark": "?", "vector": [0.6, 0.8, 0.0]}
    return json.dumps({"format": 1, "notes": [note, note | {"direction": 2}]}).encode()


def _bundle(home: Path) -> bytes:
    import os

    from spd_core.library.bundle import write_bundle
    from spd_core.library.things import Ref

    before = os.environ.get("SPD_HOME")
    os.environ["SPD_HOME"] = str(home)
    try:
        refs = [Ref("run", RUN), Ref("capture", next((home / "captures").iterdir()).name)]
        refs += [Ref("text", path.stem) for path in (home / "texts").glob("*.json")]
        return write_bundle([*refs, Ref("capability", "doubles")], home / "made.zip").read_bytes()
    finally:
        os.environ["SPD_HOME"] = before or ""


def _read_capture(folder: Path) -> object:
    from spd_core.subspace.store import load_capture

    found = load_capture(folder)
    if found.examples:
        assert len(found.supervised) == len(found.example_of) == len(found.position_of)
        for example in found.examples:
            [example.text[start:end].encode() for start, end in example.offsets]
    site = next(iter(found.sites))
    label = [one.label for one in found.sites], found.d_kv, found.layers, found.known_directions, found.kept_directions
    return found.origin, found.identity, found.seen, found.settings, found.directions(site), label


def _read_notes(folder: Path) -> object:
    from spd_core.subspace.direction_notes import notes_with, read_notes

    notes = read_notes(folder / "notes.json")
    vector = _vector(3)
    return notes_with(notes, "sum"), [note.lies_along(vector) for note in notes], [note.place for note in notes]


def _vector(width: int) -> Any:
    import numpy as np

    return np.eye(width)[0]


def _read_adapter(folder: Path) -> object:
    from spd_core.intervention.adapters import load_adapter
    from spd_core.intervention.cards import portable_files

    found = load_adapter(folder)
    portable_files(folder)
    return (
        found.fingerprint,
        found.card.label,
        found.card.capability_name,
        [one.product for one in found.deltas.values()],
    )


def _read_capability(folder: Path) -> object:
    from spd_core.data.capability import read_capability
    from spd_core.data.seen import Seen
    from spd_core.data.spans import char_spans, render_prompt

    found = read_capability(folder / "a.jsonl")
    spans = [
        char_spans(one, found.settings, render_prompt(one, found.settings, "raw", None), "aligned")
        for one in found.examples
    ]
    return spans, found.fingerprint, found.to_jsonl().encode(), Seen.of(one.prompt for one in found.examples)


def _import(path: Path) -> object:
    from spd_core.data import importing, tables

    name, data = tables.read_file(str(path))
    settings, table = importing.take_settings(tables.read_file_table(name, data))
    task = importing.recognise(table)
    columns = importing.guess_columns(table.columns)
    public = {} if task in (importing.OWN, importing.CUSTOM) else {"task": task}
    mapped = importing.OWN_COLUMNS if task == importing.OWN else columns
    found = importing.convert(table, settings, **public) if public else importing.convert(table, settings, mapped)
    said = [str(problem) + problem.value for problem in (*found.problems, *found.unmarked)]
    return [one.encode() for one in said], found.capability.to_jsonl().encode(), found.bad_rows


def _read_recipe(folder: Path) -> object:
    from spd_core.recipes.distill import plan, read_recipe
    from spd_core.recipes.presets import differing

    found = read_recipe(folder / "a.json")
    if found.rounds <= 3:
        plan(found)
    return differing(found), found.model_dump_json().encode(), found.in_short()


def _read_evaluation(folder: Path) -> object:
    from spd_core.recipes.evaluation import read_evaluation
    from spd_core.recipes.presets import differing

    found = read_evaluation(folder / "a.json")
    return differing(found), found.model_dump_json().encode(), [one.title.encode() for one in found.subjects]


def _read_table(folder: Path) -> object:
    from spd_core.evaluation import report
    from spd_core.evaluation.table import read_table
    from spd_core.records import read_record
    from spd_core.runs.record import RunRecord

    table = read_table(read_record(RunRecord, folder / "run.json").evaluation, folder)
    report.to_markdown(table)
    return report.long_rows(table), report.notes(table), [one.reason.encode() for one in table.damaged]


def _read_corpus(folder: Path) -> object:
    from spd_core.distill.corpus import clean, read_corpus

    rows = read_corpus(folder / "a.jsonl")
    prompts = {f"arithmetic-{number:04}": f"the prompt {number}" for number in range(200)}
    return clean(rows, prompts, ["a prompt"]), [row.completion.encode() for row in rows]


def _read_audits(folder: Path) -> object:
    """What the audit view and a report draw of them."""
    from app.fine_tune import audit_text
    from app.fine_tune.audit_files import Looked
    from spd_core.distill.audits import read_audits

    looked = Looked(tuple(read_audits(folder / "a.jsonl")))
    drawn: list[object] = []
    for one in looked.audits:
        drawn += [audit_text.rollout_strip(one, 8, looked.most, 0), audit_text.chunk_rows(one)]
        drawn += [audit_text.audited_tokens(one, 8), audit_text.continuation_rows(one)]
        drawn += [audit_text.chunk_html(chunk, 1) + audit_text.weight_in_words(chunk, 1.0) for chunk in one.chunks]
    return looked.verdict, audit_text.step_rows(looked.steps), repr(drawn).encode()


def _read_text(folder: Path) -> object:
    from spd_core.generation.comparison import comparison_json, read_comparison
    from spd_core.generation.differences import degeneration
    from spd_core.generation.report import lane_numbers, lane_parts, origin_line, to_python

    found = read_comparison(folder / "a.json")
    numbers = [(lane.text.encode(), lane.mean_logprob, lane.mean_kl, lane.spec) for lane in found.lanes]
    to_python(found), origin_line(found).encode()
    [(lane_numbers(lane, found), lane_parts(lane, found)) for lane in found.lanes]
    return comparison_json(found).encode(), numbers, [degeneration(lane.ids, lane.text) for lane in found.lanes]


def _read_repeat(folder: Path) -> object:
    from spd_core.evaluation.repeats import read_repeat

    found = read_repeat(folder / "a.json")
    texts = [text for prompt in found.prompts for seed in prompt.texts for text in seed]
    return found.tokens, found.stopped, [text.tokens for text in texts], found.model_dump_json().encode()


def _read_run(folder: Path) -> object:
    from spd_core.distill.trained import noted_sources
    from spd_core.records import read_record
    from spd_core.runs.folder import Run
    from spd_core.runs.record import RunRecord
    from spd_core.runs.view import RunView

    run = Run(folder, read_record(RunRecord, folder / "run.json"))
    view = RunView()
    view.take(run.events().events)
    said = run.status().reason.encode(), run.notes().encode(), run.tags(), run.rejected(), noted_sources(run)
    return said, view.stage, run.record.model_dump_json().encode()


def _read_answers(folder: Path) -> object:
    from spd_core.errors import InputError
    from spd_core.evaluation.store import ItemRecord
    from spd_core.library.inspection import answers_in
    from spd_core.records import sorted_lines

    if (folder / "items.jsonl").exists():
        sorted_lines(ItemRecord, folder / "items.jsonl", "answers")
    try:
        about, records = answers_in(folder)
    except InputError as error:
        if "something else than its name says" not in str(error):
            raise
        return None
    return about.key, [(record.key, record.value, record.asked) for record in records]


def _read_labels(folder: Path) -> object:
    from spd_core.library.labels import read_labels
    from spd_core.library.things import Ref
    from spd_core.storage import home_at

    with home_at(folder):
        return read_labels([Ref("capture", "arithmetic"), Ref("run", RUN)])


def _read_bundle(folder: Path) -> object:
    from spd_core.library.incoming import check_bundle
    from spd_core.storage import home_at

    with home_at(folder / "home"):
        found = check_bundle(folder / "a.zip")
        return [(one.title.encode(), one.said.encode()) for one in found.arrivals]
