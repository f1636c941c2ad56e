"""Files as nasty as people's disks hold: every row comes through or is told."""

from pathlib import Path

import pytest

from spd_core.data.importing import CUSTOM, convert, recognise
from spd_core.data.tables import LARGEST_FILE, MOST_ROWS, read_file, read_file_table
from spd_core.errors import InputError
from tests.data.test_importing import SETTINGS, imported, texts, told

CSV = 'question,reply\n"2 + 2, please?",4\n"two\nlines",7\n'
EXPECTED = [("2 + 2, please?", "4"), ("two\nlines", "7")]


@pytest.mark.parametrize(
    "data",
    [
        CSV.encode(),
        b"\xef\xbb\xbf" + CSV.encode(),
        CSV.replace("\n", "\r\n").encode(),
        CSV.replace("\n", "\r").encode(),
        CSV.replace(",4", ";4").replace(",7", ";7").replace(",reply", ";reply").encode(),
        CSV.replace(",4", "\t4").replace(",7", "\t7").replace(",reply", "\treply").encode(),
        CSV.replace(",4", " |  4").replace(",7", " |  7").replace(",reply", " | reply").replace('" ', '"').encode(),
        CSV.replace("\n2", "\n\n ,\n2").encode() + b"\n\n",
    ],
    ids=["plain", "BOM", "CRLF", "CR", "semicolon", "tab", "bar", "blank rows"],
)
def test_spreadsheets_of_all_kinds(data: bytes) -> None:
    table = read_file_table("own.csv", data)
    assert table.columns == ["question", "reply"]
    assert recognise(table) == CUSTOM
    found = convert(table, SETTINGS, {"prompt": "question", "answer": "reply"})
    assert texts(found) == EXPECTED
    assert not found.problems


@pytest.mark.parametrize(("encoding", "chosen"), [("cp1252", "cp1252"), ("utf-16", "utf-16")])
def test_other_encodings_are_refused_with_the_line_and_read_when_chosen(encoding: str, chosen: str) -> None:
    data = "prompt,answer\nein,zwei\nGrüße – für „dich“?,ja\n".encode(encoding)
    with pytest.raises(
        InputError, match=r"line 3, byte 25\).*cp1252" if encoding == "cp1252" else "choose the encoding"
    ):
        read_file_table("own.csv", data)
    assert texts(convert(read_file_table("own.csv", data, chosen), SETTINGS))[1] == ("Grüße – für „dich“?", "ja")  # type: ignore[arg-type]


def test_a_separator_can_be_forced() -> None:
    data = b"a;b,c\n1;2,3\n"
    assert read_file_table("own.csv", data, separator=",").columns == ["a;b", "c"]
    assert read_file_table("own.csv", data, separator=";").columns == ["a", "b,c"]


def test_every_bad_row_of_a_csv_is_told() -> None:
    lines = [
        "id,prompt,answer,split",
        "a,one,1,calibration",
        "b,,2,train",
        "c,three,   ,heldout",
        "d,four,4,later",
        "e,five,5",
        "a,six,6,test",
        'f,"se"ven,7,train',
        "g,eight\0,8,train",
        f"h,{'x' * 140_000},9,train",
        f"i,{'y' * 120_000},9,train",
        "j,ten,10,Training",
        'k,"never closed,11,train',
        "l,twelve,12,train",
    ]
    found = imported("\n".join(lines), "own.csv")
    assert [example.id for example in found.capability.examples] == ["a", "j"]
    assert told(found) == [
        "line 3: prompt: empty; fill it in, or delete the row",
        "line 4: answer: empty; fill it in, or delete the row",
        "line 5: split: Input should be 'calibration', 'train' or 'heldout'",
        "line 6: 3 cells, but the header has 4; put text with a separator in quotes",
        "line 7: id: the id is also on line 2; ids must be unique",
        "line 8: not CSV (',' expected after '\"')",
        "line 9: prompt: holds a NUL character; remove it",
        "line 10: not CSV (field larger than field limit (131072))",
        "line 11: prompt: 120,000 characters; at most 100,000",
        "line 13: not CSV (a quotation mark that opens here is never closed)",
    ]
    by_line = {problem.line: problem for problem in found.problems}
    assert by_line[5].value == "later"
    assert by_line[9].value == "eight\\0"
    assert len(by_line[11].value) == 80


def test_every_bad_row_of_a_jsonl_is_told() -> None:
    rows = [
        '{"prompt": "one", "answer": 1}',
        '{"prompt": "no answer"}',
        "not JSON",
        "[1, 2]",
        "",
        '{"prompt": null, "answer": ""}',
        '{"prompt": "half \\ud83d", "answer": "a\\u0000b"}',
        '{"prompt": "bool", "answer": true}',
        '{"prompt": "p", "answer": "ab", "spans": [[0, 9]]}',
        '{"prompt": "p", "answer": "ab", "spans": {"regex": "("}}',
        "[" * 100_000,
        '{"prompt": "three", "answer": 2.50}',
    ]
    found = imported("\r\n".join(rows))
    assert texts(found) == [("one", "1"), ("three", "2.5")]
    assert [(problem.line, problem.column) for problem in found.problems] == [
        *((2, "answer"), (3, "row"), (4, "row"), (6, "prompt"), (6, "answer"), (7, "prompt"), (7, "answer")),
        *((8, "answer"), (9, "spans"), (10, "spans"), (11, "row")),
    ]
    assert "Field required" in told(found)[0]
    assert "range [0, 9] leaves the answer" in told(found)[8]
    assert "not a regular expression" in told(found)[9]
    assert found.bad_rows == 9


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("own.jsonl", b"", "own.jsonl holds no example"),
        ("own.csv", b"", "own.csv holds no example"),
        ("own.csv", b"prompt,answer\n\n", "own.csv holds no example"),
        ("own.csv", b"prompt,answer,prompt\n1,2,3\n", "line 1: two columns are named 'prompt'"),
        ("own.csv", b'"prompt,answer\n1,2\n', "line 1: the header is not CSV"),
        ("own.json", b'[{"prompt": "a"}]', "is one JSON list; write one object a line"),
        ("own.csv", b"prompt,answer\n\xff,2\n", "own.csv is not utf-8 text (line 2, byte 14)"),
    ],
)
def test_a_file_that_is_no_table(name: str, data: bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_file_table(name, data)
    assert message in str(error.value)


@pytest.mark.parametrize(("name", "row"), [("own.csv", "a,b\n"), ("own.jsonl", '{"prompt": "a", "answer": "b"}\n')])
def test_more_rows_than_a_page_can_handle(name: str, row: str) -> None:
    most = MOST_ROWS + name.endswith(".csv")  # its header is no row
    assert len(read_file_table(name, (row * most).encode()).rows) == MOST_ROWS
    with pytest.raises(InputError, match="more than 10,000 rows; import a part of it"):
        read_file_table(name, (row * (most + 1)).encode())


@pytest.mark.parametrize(
    ("name", "header", "line"), [("own.jsonl", "", "{\n"), ("own.csv", "prompt,answer\n", "one cell\n")]
)
def test_lines_that_cannot_be_read_are_no_more_than_rows_may_be(name: str, header: str, line: str) -> None:
    """Two million bytes of them took half a minute, and each was listed."""
    table = read_file_table(name, (header + line * MOST_ROWS).encode())
    assert (len(table.rows), len(table.problems)) == (0, MOST_ROWS)
    with pytest.raises(InputError, match="more than 10,000 rows; import a part of it"):
        read_file_table(name, (header + line * (MOST_ROWS + 1)).encode())


def test_a_header_of_very_many_columns_is_read() -> None:
    """Each was once looked for among all others."""
    names = [f"column-{number}" for number in range(20_000)]
    table = read_file_table("own.csv", f"{','.join(names)}\n{','.join('x' * len(names))}\n".encode())
    assert table.columns == names
    with pytest.raises(InputError, match="two columns are named 'column-7'"):
        read_file_table("own.csv", f"{','.join([*names, 'column-7'])}\n".encode())


def test_a_header_without_a_name_gets_a_number() -> None:
    assert read_file_table("own.csv", b"prompt,,answer\n1,2,3\n").columns == ["prompt", "column 2", "answer"]


def test_markup_is_text_like_any_other() -> None:
    evil = '<img src=x onerror=alert(1)> ![x](http://evil.example) **b** =HYPERLINK("http://evil.example")'
    quoted = '"' + evil.replace('"', '""') + '"'
    assert texts(imported(f"prompt,answer\n{quoted},{quoted}\n", "own.csv")) == [(evil, evil)]


@pytest.mark.parametrize("path", ["/no/such/file", "/", "/dev/null", "~nobody-here/x", "a\0b"])
def test_a_path_that_cannot_be_read(path: str) -> None:
    with pytest.raises(InputError, match="check the path"):
        read_file(path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(InputError, match="larger than 20 MiB"):
        read_file(str(tmp_path / "large.csv"))
