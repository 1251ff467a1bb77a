"""Questions: the same from every format of a file and from standard input, and what cannot be asked is named."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from plmtrain.data.tables.questions import Question, from_file, from_stream
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.text.readers import Skips

COLUMNS = {"document": "the run's column"}
ROWS = [{"id": "7", "document": "a film", "label": "good"}, {"id": "8", "document": "둘, 셋", "label": ""}]


def asked(row: Row) -> str:
    return row.text("document")


def lines_in(name: str) -> str:
    """The rows in the format of an ending."""
    if name in (".jsonl", ".ndjson"):
        return "".join(json.dumps(row) + "\n" for row in ROWS)
    if name == ".json":
        return json.dumps(ROWS)
    cells = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    if name == ".csv":
        return "\r\n".join(",".join(f'"{cell}"' for cell in row) for row in cells)
    return "\r\n".join("\t".join(row) for row in cells)


ENDINGS = [".tsv", ".tab", ".csv", ".jsonl", ".ndjson", ".json"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_gives_questions_by_their_column(tmp_path: Path, ending: str, packed: bool) -> None:
    """Neither the header nor the other columns are part of a question."""
    content = ("\ufeff" + lines_in(ending)).encode()
    content = gzip.compress(content) if packed else content
    path, skips = tmp_path / (f"a{ending}.gz" if packed else f"a{ending}"), Skips()
    path.write_bytes(content)
    found = list(from_file(path, "auto", COLUMNS, asked, skips))
    assert [(one.text, one.cells) for one in found] == [(row["document"], row) for row in ROWS]
    format = {".tab": "tsv", ".ndjson": "jsonl", ".json": "jsonl"}.get(ending, ending[1:])
    stream = io.BufferedReader(io.BytesIO(content))
    piped = list(from_stream(stream, "standard input", format, COLUMNS, asked, skips))
    assert [(one.text, one.cells) for one in piped] == [(one.text, one.cells) for one in found]
    assert [one.place.replace("standard input", str(path)) for one in piped] == [one.place for one in found]
    assert not skips.count


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_a_table_without_a_header_is_read_by_the_names_that_are_given(tmp_path: Path, ending: str) -> None:
    path, names = tmp_path / f"a{ending}", ("id", "document", "label")
    content = lines_in(ending).partition("\r\n")[2]
    path.write_text(content, encoding="utf-8", newline="")
    stream = io.BufferedReader(io.BytesIO(content.encode()))
    for asked_for in (
        from_file(path, "auto", COLUMNS, asked, Skips(), names=names),
        from_stream(stream, "standard input", ending[1:], COLUMNS, asked, Skips(), names=names),
    ):
        assert [(one.text, one.cells) for one in asked_for] == [(row["document"], row) for row in ROWS]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    found = list(from_file(path, "auto", COLUMNS, asked, Skips()))
    assert [(one.text, one.cells, one.place) for one in found] == [
        (row["document"], row, f"{path}, row {number}") for number, row in enumerate(ROWS, start=1)
    ]
    with pytest.raises(DataError, match="parquet cannot be read from a stream"):
        list(from_stream(io.BufferedReader(io.BytesIO()), "standard input", "parquet", COLUMNS, asked, Skips()))


def test_lines_are_questions_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\ttwo\r\n\r\n{three}")
    found = list(from_file(path, "auto", COLUMNS, asked, Skips()))
    assert found == [Question("one\ttwo", f"{path}:1"), Question("", f"{path}:2"), Question("{three}", f"{path}:3")]
    path.rename(tmp_path / "a.tsv")
    assert [one.text for one in from_file(tmp_path / "a.tsv", "text", COLUMNS, asked, Skips())] == [one.text for one in found]


def test_what_cannot_be_asked_is_named_and_the_rest_is_asked(tmp_path: Path) -> None:
    path, skips = tmp_path / "a.jsonl", Skips()
    path.write_bytes(b'{"document": "one"}\n{"text": "x"}\n{"document": 3}\n{"docu\n[1]\n\xff\n{"document": "two"}\n')
    found = list(from_file(path, "auto", COLUMNS, asked, skips))
    assert [(one.text, one.place) for one in found] == [("one", f"{path}:1"), ("two", f"{path}:7")]
    assert [line.partition(": ")[0] for line in skips.first] == [f"{path}:{number}" for number in range(2, 7)]


def test_a_table_without_the_column_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,b\n")
    with pytest.raises(DataError, match="there is no column 'document'; the header's columns: text, label") as told:
        list(from_file(path, "auto", COLUMNS, asked, Skips()))
    assert told.value.where == f"{path}:1"
