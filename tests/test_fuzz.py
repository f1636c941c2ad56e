"""A few files made wrong for each reader, always the same ones; `benchmarks/fuzz.py` does it with thousands.

Below them, one by one, what the thousands have found.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spd_core.errors import LONGEST_MESSAGE, InputError, SpdError
from tests.fuzzing import DEEP, Reader, changed, outcome_of, readers

INPUTS = 40
NAMES = (
    "capture", "shell capture", "direction notes", "adapter", "capability", "spans", "import of jsonl",
    "import of csv", "recipe", "evaluation recipe", "table", "corpus", "audits", "text", "repeat", "run", "answers",
    "labels", "bundle",
)  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("saved") / "home")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_every_reader_is_here(known: dict[str, Reader]) -> None:
    assert tuple(known) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_whole_is_read(name: str, known: dict[str, Reader], tmp_path: Path) -> None:
    """Or else the others would show nothing."""
    assert outcome_of(known[name], known[name].files, tmp_path / "whole") == ("read", "")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_is_a_value_or_a_sentence(name: str, known: dict[str, Reader], tmp_path: Path) -> None:
    reader, words = known[name], []
    for number in range(INPUTS):
        files = changed(reader.files, reader.mutable, random.Random(f"{name} {number}"))
        word, said = outcome_of(reader, files, tmp_path / str(number))
        assert word != "fault", f"input {number}: {said}"
        words.append(word)
    assert "refused" in words


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("bundle", "import of csv")])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(value=JSON, of=st.randoms(use_true_random=False))
def test_any_json_in_place_of_a_value(
    name: str, value: Any, of: random.Random, known: dict[str, Reader], tmp_path_factory: pytest.TempPathFactory
) -> None:
    reader = known[name]
    texts = sorted(file for file in reader.files if file.endswith(("json", "jsonl")))
    file = of.choice(texts)
    rows = reader.files[file].splitlines() if file.endswith("l") else [reader.files[file]]
    at = of.randrange(len(rows)) if rows else 0
    row = json.loads(rows[at]) if rows else {}
    if isinstance(row, dict) and row:
        row[of.choice(sorted(row))] = value
    else:
        row = value
    files = reader.files | {file: b"\n".join([*rows[:at], json.dumps(row).encode(), *rows[at + 1 :]])}
    word, said = outcome_of(reader, files, tmp_path_factory.mktemp("input"))
    assert word != "fault", said


# --- what was found ------------------------------------------------------------------------------------------------


def refused(known: dict[str, Reader], name: str, folder: Path, match: str, **files: bytes) -> None:
    reader = known[name]
    by_stem = {file.rpartition("/")[2].replace(".", "_"): file for file in reader.files}
    changed_files = {by_stem[stem]: data for stem, data in files.items()}
    word, said = outcome_of(reader, reader.files | changed_files, folder)
    assert word == "refused", said
    assert match in said


def edited(data: bytes, *path: Any, to: Any) -> bytes:
    """JSON in which the value at a path is another."""
    found = json.loads(data)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (("examples", 0, "ids"), ["a", "b"], "ids"),
        (("examples", 0, "ids"), 10**400, "ids"),
        (("examples", 0, "offsets", 0), [0, 10**6], "lies outside its text"),
        (("examples", 0, "offsets", 0), [3, 1], "lies outside its text"),
        (("examples", 0, "offsets", 0), [0, float("inf")], "offsets"),
        (("examples", 0, "supervised"), [10**6], "do not fit its text"),
        (("examples", 0, "text"), "\ud800", "surrogates"),
        (("examples", 0, "text"), ["a"], "text"),
        (("sites", 0, "layer"), [1], "no site has"),
        (("sites", 0, "heads"), 0, "heads"),
        (("sites", 0, "kind"), "query", "no site has"),
        (("provenance", "dtype"), "float8", "the dtype 'float8'"),
        (("provenance", "loss"), " ", "loss"),
        (("provenance", "batch_size"), -1, "batch_size"),
    ],
)
def test_a_capture_of_odd_values(path: Any, to: Any, said: str, known: dict[str, Reader], tmp_path: Path) -> None:
    data = edited(known["capture"].files["analysis.json"], *path, to=to)
    refused(known, "capture", tmp_path / "odd", said, analysis_json=data)


def test_a_repeat_whose_columns_differ_in_length(known: dict[str, Reader], tmp_path: Path) -> None:
    data = edited(known["repeat"].files["a.json"], "prompts", 0, "texts", 0, 0, "logprobs", to=[])
    refused(known, "repeat", tmp_path / "odd", "every token has one of each", a_json=data)


def test_half_a_character_in_a_text(known: dict[str, Reader], tmp_path: Path) -> None:
    for name in ("text", "repeat"):
        data = edited(known[name].files["a.json"], "device", to="a\ud800")
        refused(known, name, tmp_path / name, "surrogates", a_json=data)


def test_a_text_with_a_site_that_is_none(known: dict[str, Reader], tmp_path: Path) -> None:
    found = json.loads(known["text"].files["a.json"])
    found["lanes"][1]["ranks"] = {"": 3}
    refused(known, "text", tmp_path / "odd", "ranks", a_json=json.dumps(found).encode())


def test_a_row_of_an_example_that_is_gone(known: dict[str, Reader], tmp_path: Path) -> None:
    line, *rest = known["corpus"].files["a.jsonl"].splitlines()
    data = b"\n".join([edited(line, "id", to="nobody"), *rest, b""])
    refused(
        known, "corpus", tmp_path / "odd", "of the example 'nobody', which the capability does not have", a_jsonl=data
    )


def test_a_lane_of_an_odd_kind(known: dict[str, Reader], tmp_path: Path) -> None:
    found = json.loads(known["text"].files["a.json"])
    found["lanes"][0]["spec"] = {"kind": ["raw"]}
    refused(known, "text", tmp_path / "odd", "unknown kind of lane", a_json=json.dumps(found).encode())


@pytest.mark.parametrize(
    ("file", "path", "to", "said"),
    [
        ("cells/base--42--arithmetic.json", ("set",), "elsewhere", "of another subject, seed or set"),
        ("cells/base--42--arithmetic.jsonl", ("tokens",), 10**400, "tokens"),
    ],
)
def test_a_cell_of_odd_values_is_damaged(
    file: str, path: Any, to: Any, said: str, known: dict[str, Reader], tmp_path: Path
) -> None:
    from spd_core.evaluation.table import read_table
    from spd_core.records import read_record
    from spd_core.runs.record import RunRecord

    first, *rest = known["table"].files[file].split(b"\n") if file.endswith("l") else [known["table"].files[file]]
    files = known["table"].files | {file: b"\n".join([edited(first, *path, to=to), *rest])}
    assert outcome_of(known["table"], files, tmp_path / "odd") == ("read", "")
    table = read_table(read_record(RunRecord, tmp_path / "odd" / "run.json").evaluation, tmp_path / "odd")
    assert [said in one.reason for one in table.damaged] == [True]


def test_deep_nesting(known: dict[str, Reader], tmp_path: Path) -> None:
    refused(known, "adapter", tmp_path / "adapter", "no LoRA settings", adapter_config_json=DEEP)
    run = known["run"]
    assert outcome_of(run, run.files | {"sources.json": DEEP}, tmp_path / "run") == ("read", "")


def test_half_a_character_in_the_settings_of_an_import(known: dict[str, Reader], tmp_path: Path) -> None:
    first, *rest = known["import of jsonl"].files["a.jsonl"].splitlines()
    data = b"\n".join([edited(first, "title", to="\ud800"), *rest])
    refused(known, "import of jsonl", tmp_path / "odd", "title: holds half of a surrogate pair", a_jsonl=data)


def test_a_note_along_nothing(known: dict[str, Reader], tmp_path: Path) -> None:
    data = edited(known["direction notes"].files["notes.json"], "notes", 0, "vector", to=[float("nan"), 1, 0])
    refused(known, "direction notes", tmp_path / "odd", "vector", notes_json=data)


def test_a_message_can_be_shown() -> None:
    error = InputError("begins " + "x" * 10_000 + "\ud800 ends")
    assert len(str(error)) <= LONGEST_MESSAGE + 3
    assert str(error).startswith("begins x")
    assert str(error).endswith("\\ud800 ends")
    assert isinstance(error, SpdError)
    assert str(InputError("as it is")) == "as it is"
