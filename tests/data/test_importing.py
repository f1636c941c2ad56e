"""Importing: real rows of public data sets, what columns mean, and saving."""

import json
from pathlib import Path

import pytest

from spd_core.data.capability import QUESTION, Settings, read_capability
from spd_core.data.catalog import find_capability, read_named, save_capability, saved_capabilities, suggested_name
from spd_core.data.importing import (
    CUSTOM,
    OWN,
    OWN_COLUMNS,
    Imported,
    convert,
    guess_columns,
    make_settings,
    recognise,
    take_settings,
)
from spd_core.data.public import PUBLIC_SETS, read_public
from spd_core.data.tables import read_file_table
from spd_core.errors import InputError, StorageError
from tests import ROOT
from tests.data.test_public import FILES

SETTINGS = Settings(capability="own")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    return tmp_path


def imported(text: str, name: str = "own.jsonl", settings: Settings = SETTINGS) -> Imported:
    return convert(read_file_table(name, text.encode()), settings)


def told(found: Imported) -> list[str]:
    return [str(problem) for problem in found.problems]


def texts(found: Imported) -> list[tuple[str, str]]:
    return [(example.prompt, example.answer) for example in found.capability.examples]


# --- real rows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_public_rows_are_recognised_and_read_as_by_name(datasets_folder: Path, name: str) -> None:
    path = datasets_folder / FILES[name]
    table = read_file_table(path.name, path.read_bytes())
    assert recognise(table) == name
    found = convert(table, PUBLIC_SETS[name].settings, task=name)
    assert not found.problems
    assert not found.unmarked
    assert found.capability == read_public(name, path)


@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "mbpp", "svamp"])
def test_public_rows_survive_a_spreadsheet(datasets_folder: Path, name: str) -> None:
    """The same rows through a CSV, whose cells are all text."""
    import csv
    import io

    path = datasets_folder / FILES[name]
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    for row in rows:
        cells = {key: json.dumps(value) if isinstance(value, list) else value for key, value in row.items()}
        writer.writerow(
            {key: value.replace("\r\n", "\n") if isinstance(value, str) else value for key, value in cells.items()}
        )
    table = read_file_table(f"{name}.csv", out.getvalue().encode())
    assert recognise(table) == name
    found = convert(table, PUBLIC_SETS[name].settings, task=name)
    assert not found.problems
    for example, expected in zip(found.capability.examples, read_public(name, path).examples, strict=True):
        assert example.prompt.split() == expected.prompt.split()  # blanks at the start of a cell are not kept
        assert (example.answer, example.tests) == (expected.answer, expected.tests)


def test_a_bad_public_row_is_told_with_its_column_and_value(datasets_folder: Path) -> None:
    lines = (datasets_folder / FILES["mmlu"]).read_text("utf-8").splitlines()[:3]
    bad = {**json.loads(lines[1]), "answer": 7, "choices": ["a", "b"]}
    found = convert(
        read_file_table("m.jsonl", "\n".join([lines[0], json.dumps(bad), lines[2]]).encode()), SETTINGS, task="mmlu"
    )
    assert [example.id for example in found.capability.examples] == ["mmlu-1", "mmlu-3"]
    assert {(p.line, p.column, p.value) for p in found.problems} == {(2, "answer", "7"), (2, "choices", '["a", "b"]')}
    assert found.bad_rows == 1


def test_our_own_file_comes_back_as_it_was() -> None:
    path = ROOT / "assets" / "capabilities" / "python-functions.jsonl"
    settings, table = take_settings(read_file_table(path.name, path.read_bytes()))
    assert recognise(table) == OWN
    found = convert(table, settings)
    assert found.capability == read_capability(path)
    assert not found.problems
    assert not found.unmarked


# --- what the columns mean -----------------------------------------------------------------------------------


def test_other_sets_with_a_question_and_an_answer_are_not_gsm8k() -> None:
    table = read_file_table("own.csv", b"question,answer\nWhere?,There\n")
    assert recognise(table) == CUSTOM
    assert guess_columns(table.columns) == {"prompt": "question", "answer": "answer"}
    assert recognise(read_file_table("own.csv", b"prompt,reply\na,b\n")) == CUSTOM
    assert recognise(read_file_table("own.jsonl", b'{"prompt": "no answer"}')) == OWN
    assert guess_columns(["ID", "Instruction", "Output", "test_list"]) == {
        **{"prompt": "Instruction", "answer": "Output"},
        **{"id": "ID", "tests": "test_list"},
    }
    assert guess_columns(["Frage"]) == {}


def test_rows_without_a_split_go_where_one_says() -> None:
    table = read_file_table("own.csv", b"prompt,answer,split\na,b,\nc,d,train\n")
    found = convert(table, SETTINGS, split="heldout")
    assert [example.split for example in found.capability.examples] == ["heldout", "train"]


def test_ids_are_made_where_there_are_none_and_never_twice() -> None:
    table = read_file_table("own.csv", b"prompt,answer,id\na,b,line-3\nc,d,\ne,f,\n")
    assert [example.id for example in convert(table, SETTINGS).capability.examples] == ["line-3", "line-3-2", "line-4"]


def test_tests_come_as_a_list_as_json_or_as_lines() -> None:
    table = read_file_table("own.csv", b'prompt,answer,tests\na,b,"[""x == 1"", ""y""]"\na,b,"x == 1\ny"\na,b,\n')
    found = convert(table, SETTINGS)
    assert [example.tests for example in found.capability.examples] == [("x == 1", "y"), ("x == 1", "y"), ()]


def test_rows_whose_span_rule_finds_nothing_are_kept_and_told() -> None:
    table = read_file_table("own.csv", b"prompt,answer\na,7\nb,seven\n")
    found = convert(table, Settings(capability="own", spans="number"))
    assert len(found.capability.examples) == 2
    assert [(problem.line, problem.value) for problem in found.unmarked] == [(3, "seven")]


def test_the_settings_row() -> None:
    text = '{"capability": "c", "spans": "number"}\n{"prompt": "a", "answer": "1"}'
    settings, table = take_settings(read_file_table("own.jsonl", text.encode()))
    assert (settings.capability, settings.spans, len(table.rows)) == ("c", "number", 1)
    for row, message in (
        ('{"capability": "c", "x": 1}', "own.jsonl, line 1: x: "),
        ('{"capability": "c"}', "holds no"),
    ):
        below = '\n{"prompt": "a", "answer": "1"}' if "x" in row else ""
        with pytest.raises(InputError, match=message):
            take_settings(read_file_table("own.jsonl", (row + below).encode()))
    assert take_settings(read_file_table("some name.csv", b"a\n1\n"))[0].capability == "some name"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template": "no place"}, "template: template must contain {prompt} exactly once"),
        ({"spans": "letters"}, "spans: unknown span rule 'letters'"),
        ({"spans": {"regex": "("}}, "spans: not a regular expression"),
        ({"scorer": "taste"}, "scorer: Input should be 'number'"),
    ],
)
def test_settings_that_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        make_settings(capability="c", **fields)
    assert message in str(error.value)
    assert make_settings(capability="c").template == QUESTION


# --- saving --------------------------------------------------------------------------------------------------


def test_what_is_saved_is_found_by_name(home: Path) -> None:
    found = imported('{"prompt": "a", "answer": "b", "spans": [[0, 1]]}').capability
    path = save_capability(found, "my-own")
    assert path == home / "capabilities" / "my-own.jsonl"
    assert saved_capabilities() == ["my-own"]
    assert read_named("my-own") == find_capability("my-own")
    assert read_named("my-own").examples == found.examples
    assert read_named("my-own").name == "my-own"
    with pytest.raises(StorageError, match="my-own is saved already; choose another name, or replace it"):
        save_capability(found, "my-own")
    other = imported('{"prompt": "c", "answer": "d"}').capability
    save_capability(other, "my-own", overwrite=True)
    assert read_named("my-own").examples == other.examples
    assert not [entry for entry in path.parent.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("name", ["", "..", "a/b", "../up", "a\0", ".hidden", "a..b", "x" * 90, "ok\n", "né", "a b"])
def test_names_that_lead_elsewhere_are_refused(home: Path, name: str) -> None:
    with pytest.raises(InputError, match="is not a name"):
        save_capability(imported('{"prompt": "a", "answer": "b"}').capability, name)
    assert not (home / "capabilities").exists()


@pytest.mark.parametrize("name", ["arithmetic", "Arithmetic", "gsm8k"])
def test_what_comes_along_cannot_be_overwritten(home: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} comes with SPD Lab"):
        save_capability(imported('{"prompt": "a", "answer": "b"}').capability, name, overwrite=True)


def test_nothing_is_not_saved(home: Path) -> None:
    with pytest.raises(InputError, match="no example to save"):
        save_capability(imported('{"prompt": "a"}').capability, "mine")


def test_a_link_among_the_saved_ones_is_not_followed(home: Path, tmp_path: Path) -> None:
    save_capability(imported('{"prompt": "a", "answer": "b"}').capability, "mine")
    (tmp_path / "elsewhere.jsonl").write_text('{"prompt": "secret", "answer": "b"}')
    (home / "capabilities" / "link.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(InputError, match="is not a name"):
        read_named("link")


def test_names_are_suggested() -> None:
    assert suggested_name("gsm8k.train") == "gsm8k-train"
    assert suggested_name("../../etc/pass wd") == "etc-pass-wd"
    assert suggested_name("日本") == "mine"
    assert OWN_COLUMNS["prompt"] == "prompt"
