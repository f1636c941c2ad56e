"""The JSONL format of a capability: what is read, what is refused and where, and the fingerprint."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spd_core.data.capability import (
    Capability,
    Example,
    RangeSpans,
    RegexSpans,
    builtin_names,
    read_builtin,
    read_capability,
    read_jsonl,
)
from spd_core.errors import InputError

ROW = {"prompt": "2 + 2?", "answer": "4"}
DOCUMENTED = r"""
{"capability": "sums", "title": "Sums", "template": "Q: {prompt}\nA:", "spans": "number", "scorer": "number"}
{"id": "one", "split": "heldout", "prompt": "1 + 1?", "answer": "It is 2"}
{"prompt": "2 + 2?", "answer": "4 it is", "spans": [[0, 1]]}
{"prompt": "Say red.", "answer": "red", "spans": {"regex": "r(e)d", "in": "prompt"}}
{"prompt": "Add.", "answer": "a", "spans": "tests", "tests": ["assert a"], "setup": "import math", "note": "mine"}
"""
fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.jsonl"


def lines(*rows: dict[str, Any] | str) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def read(file: Path, *rows: dict[str, Any] | str) -> Capability:
    file.write_text(lines(*rows), "utf-8")
    return read_capability(file)


# --- what is read --------------------------------------------------------------------------------------------


def test_the_documented_format(file: Path) -> None:
    found = read(file, DOCUMENTED)
    assert (found.name, found.settings.title, found.settings.scorer) == ("sums", "Sums", "number")
    assert found.settings.template == "Q: {prompt}\nA:"
    first, second, third, fourth = found.examples
    assert first == Example(id="one", split="heldout", prompt="1 + 1?", answer="It is 2")
    assert second.spans == RangeSpans(ranges=((0, 1),))
    assert third.spans == RegexSpans.model_validate({"regex": "r(e)d", "in": "prompt"})
    assert (fourth.spans, fourth.tests, fourth.setup) == ("tests", ("assert a",), "import math")


def test_without_a_settings_row_the_file_gives_the_name(file: Path) -> None:
    found = read(file, ROW, ROW)
    assert (found.name, found.settings.spans, found.settings.scorer) == ("mine", "answer", "exact")
    assert [example.id for example in found.examples] == ["line-1", "line-2"]
    assert {example.split for example in found.examples} == {"calibration"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff" + lines(ROW), id="byte order mark"),
        pytest.param(f"\n  \n{lines(ROW)}\n\n", id="blank lines"),
        pytest.param(lines(ROW) + "\r\n", id="CRLF"),
        pytest.param(lines({**ROW, "more": [1]}), id="columns of one's own"),
    ],
)
def test_what_editors_do_to_a_file_is_harmless(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    (found,) = read_capability(file).examples
    assert (found.prompt, found.answer) == ("2 + 2?", "4")


def test_line_numbers_count_blank_lines(file: Path) -> None:
    file.write_bytes(b'\r\n{"a": 1}\r\n\r\n{"b": 2}')
    assert read_jsonl(file) == [(2, {"a": 1}), (4, {"b": 2})]


def test_split_and_limited(file: Path) -> None:
    splits = {"a": "train", "b": "heldout", "c": "train"}
    found = read(file, *({**ROW, "id": name, "split": split} for name, split in splits.items()))
    assert [example.id for example in found.split("train").examples] == ["a", "c"]
    assert [example.id for example in found.limited(2).examples] == ["a", "b"]
    assert found.limited(None) == found
    assert not found.split("calibration").examples


def test_built_in_capabilities_are_found_by_name() -> None:
    assert builtin_names() == ["arithmetic", "multiple-choice", "python-functions"]
    assert read_builtin("arithmetic").name == "arithmetic"
    with pytest.raises(InputError, match=r"unknown capability 'magic'; built in: arithmetic, .*or give a \.jsonl"):
        read_builtin("magic")


# --- what is refused, and where ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", "a JSON list, expected an object"),
        ("null", "a JSON NoneType, expected an object"),
        ({"answer": "4"}, "prompt: Field required"),
        ({"prompt": "x"}, "answer: Field required"),
        ({"prompt": "", "answer": "4"}, "prompt: String should have at least 1 character"),
        ({"prompt": "x", "answer": 4}, "answer: Input should be a valid string"),
        ({**ROW, "tests": "assert x"}, "tests: Input should be a valid tuple"),
        ({**ROW, "split": "test"}, "split: Input should be 'calibration', 'train' or 'heldout'"),
        ({**ROW, "prompt": "\ud800"}, "surrogates not allowed"),
        ({**ROW, "spans": "numbers"}, "spans: unknown span rule 'numbers'; use answer, number"),
        ({**ROW, "spans": 7}, "spans: "),
        ({**ROW, "spans": []}, "spans: .*at least 1 item"),
        ({**ROW, "spans": [[0, 2]]}, r"range \[0, 2\] leaves the answer, 1 characters long"),
        ({**ROW, "spans": {"ranges": [[0, 7]], "in": "prompt"}}, r"range \[0, 7\] leaves the prompt, 6 characters"),
        ({**ROW, "spans": [[1, 1]]}, r"range \[1, 1\] is not 0 ≤ start < end"),
        ({**ROW, "spans": [[-1, 1]]}, r"range \[-1, 1\] is not 0 ≤ start < end"),
        ({**ROW, "spans": {"regex": "("}}, "not a regular expression: missing \\)"),
        ({**ROW, "spans": {"regex": "a{99999999999999999999}"}}, "regular expression"),
        ({**ROW, "spans": {"regex": "(" * 5000 + ")" * 5000}}, "a regular expression of 10,000 characters"),
        ({**ROW, "spans": {"regex": "a", "in": "title"}}, "spans: "),
        ({"capability": "late", "spans": "answer"}, "prompt: Field required"),  # settings stand in the first row
    ],
)
def test_a_bad_row_is_named_by_file_and_line(file: Path, bad: dict[str, Any] | str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"mine\.jsonl, line 3: .*{reason}"):
        read(file, ROW, "", bad)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"template": "no place"}, r"template: template must contain \{prompt\} exactly once"),
        ({"template": "{prompt} {prompt}"}, r"template: template must contain \{prompt\} exactly once"),
        ({"spans": "last"}, "spans: unknown span rule 'last'"),
        ({"scorer": "vibes"}, "scorer: Input should be 'number', 'letter'"),
        ({"tempalte": "{prompt}"}, "tempalte: Extra inputs are not permitted"),
        ({"capability": None}, "capability: Input should be a valid string"),
    ],
)
def test_a_bad_settings_row_is_named(file: Path, bad: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=rf"mine\.jsonl, line 1: {reason}"):
        read(file, {"capability": "x", **bad}, ROW)


@pytest.mark.parametrize("text", ["", "\n\n", '{"capability": "x"}'])
def test_a_file_without_examples_is_refused(file: Path, text: str) -> None:
    with pytest.raises(InputError, match=r'mine\.jsonl holds no example; add rows such as \{"prompt"'):
        read(file, text)


def test_an_id_may_be_used_once(file: Path) -> None:
    with pytest.raises(InputError, match="the id 'a' is used more than once"):
        read(file, {**ROW, "id": "a"}, {**ROW, "id": "b"}, {**ROW, "id": "a"})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent\.jsonl: No such file"):
        read_capability(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        read_capability(tmp_path)
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "é"}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.jsonl is not UTF-8 text \(byte 12\)"):
        read_capability(tmp_path / "latin.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")  # nobody writes into it: reading would wait for ever
    with pytest.raises(InputError, match=r"pipe\.jsonl is a pipe or a device"):
        read_capability(tmp_path / "pipe.jsonl")
    with pytest.raises(InputError, match="/dev/zero is a pipe or a device"):
        read_capability(Path("/dev/zero"))


# --- whatever the bytes --------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats() | st.text("ab(){}0,9\\\ud800", max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["regex", "ranges", "in", "x"]), inner),
    max_leaves=6,
)
fields = st.sampled_from(["id", "split", "prompt", "answer", "spans", "tests", "setup", "capability", "template", "x"])


def read_or_refuse(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with suppress(InputError):
        assert read_capability(file).fingerprint  # can be computed, too


@fast
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(file: Path, data: bytes) -> None:
    read_or_refuse(file, data)


@fast
@given(st.lists(st.dictionaries(fields, json_values, max_size=4), min_size=1, max_size=3))
@example([{"capability": "x", "\ud800": 1}, ROW])
def test_any_objects_are_read_or_refused(file: Path, rows: list[dict[str, Any]]) -> None:
    for row in ({"prompt": "p", "answer": "a"} | row for row in rows):
        read_or_refuse(file, lines(row).encode())
    read_or_refuse(file, lines(*rows).encode())


text = st.text(min_size=1, max_size=20)
examples = st.fixed_dictionaries(
    {"prompt": text, "answer": text},
    optional={
        "split": st.sampled_from(["calibration", "train", "heldout"]),
        "spans": st.sampled_from(
            ["answer", "number", "tests", "after:#### ", [[0, 1]], {"regex": "a+", "in": "prompt"}]
        ),
        "tests": st.lists(text, max_size=2),
        "setup": text,
    },
)


@fast
@given(st.lists(examples, min_size=1, max_size=4))
def test_valid_rows_come_back_as_written(file: Path, rows: list[dict[str, Any]]) -> None:
    found = read(file, *rows).examples
    for row, one in zip(rows, found, strict=True):
        back = one.model_dump(mode="json", by_alias=True)
        spans = row.get("spans")
        expected = {"ranges": spans, "in": "answer"} if isinstance(spans, list) else spans
        assert back["spans"] == expected
        assert {name: back[name] for name in row if name != "spans"} == {k: v for k, v in row.items() if k != "spans"}


# --- fingerprint ---------------------------------------------------------------------------------------------


def test_the_fingerprint_does_not_depend_on_how_the_file_is_laid_out(file: Path, tmp_path: Path) -> None:
    row = {"id": "a", **ROW}
    one = read(file, row).fingerprint
    other = tmp_path / "sub" / "mine.jsonl"
    other.parent.mkdir()
    other.write_bytes(b"\r\n" + json.dumps(dict(reversed(row.items())), indent=None).encode() + b"\r\n\r\n")
    assert read_capability(other).fingerprint == one
    assert len(one) == 64


@pytest.mark.parametrize(
    "change",
    [{"prompt": "2 + 3?"}, {"answer": "5"}, {"spans": "number"}, {"split": "train"}, {"tests": ["x"]}, {"id": "b"}],
)
def test_the_fingerprint_changes_with_an_example(file: Path, change: dict[str, Any]) -> None:
    row = {"id": "a", **ROW}
    assert read(file, row).fingerprint != read(file, {**row, **change}).fingerprint


def test_the_fingerprint_changes_with_settings_and_order(file: Path) -> None:
    a, b = {"id": "a", **ROW}, {"id": "b", **ROW}
    found = [
        read(file, a, b).fingerprint,
        read(file, b, a).fingerprint,
        read(file, {"capability": "mine", "spans": "number"}, a, b).fingerprint,
    ]
    assert len(set(found)) == 3
