"""Readers: what is in the files, and what is told of what should not be."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.text import json_objects, readers
from plmtrain.text.readers import Document, Skips, expand, read


def settings(type: str = "text", **changes: object) -> DataSettings:
    return DataSettings(name="mine", type=type, files=("x",), **changes)


def told(path: Path, data: DataSettings) -> DataError:
    with pytest.raises(DataError) as error:
        list(read(path, data))
    return error.value


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    ("document_per", "expected"),
    [
        ("file", [("one\ntwo\n\n\nthree\n  four", 3)]),
        ("blank_line", [("one\ntwo", 3), ("three\n  four", 7)]),
        ("line", [("one", 3), ("two", 4), ("three", 7), ("  four", 8)]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_text_is_divided_as_asked(
    tmp_path: Path, document_per: str, expected: list[tuple[str, int]], end: str, packed: bool
) -> None:
    content = "\ufeff\n \none\ntwo\n\n \t\nthree\n  four\n\n".replace(" \t", "").replace("\n", end).encode()
    path = write(tmp_path / ("a.txt.gz" if packed else "a.txt"), gzip.compress(content) if packed else content)
    found = list(read(path, settings(document_per=document_per)))
    assert found == [Document(text, str(path), line) for text, line in expected]


def test_json_lines_are_a_document_each(tmp_path: Path) -> None:
    rows = [{"id": 1, "body": "first\nof two"}, {"body": "  "}, {"body": "둘째", "text": 3}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(row) for row in rows))
    assert [(d.text, d.line) for d in read(path, settings("jsonl", text_column="body"))] == [("first\nof two", 1), ("둘째", 5)]


@pytest.mark.parametrize(
    ("type", "content", "line", "what", "remedy"),
    [
        ("text", b"fine\nbad \xff byte\n", 2, "not UTF-8: byte 0xff at place 5", "iconv"),
        ("text", "fine\n".encode("utf-16"), 1, "NUL", "UTF-8"),
        ("text", b"fine\n\nnot \0 so\n", 3, "NUL", "on_bad=skip"),
        ("text", b"\x89PNG\r\n\x1a\n\x00", 1, "not UTF-8", "on_bad=skip"),
        ("jsonl", b'{"text": "a"}\n{"text": "b', 2, "not a complete line of JSON", '{"text": "..."}'),
        ("jsonl", b'{"text": "a"}\n["text"]\n', 2, "object was expected, but this is a list", '{"text": "..."}'),
        ("jsonl", b'{"id": 1, "txt": "a"}\n', 1, "no column 'text'; the columns here: id, txt", "did you mean 'txt'"),
        ("jsonl", b"{}\n", 1, "the columns here: none", "on_bad=skip"),
        (
            "jsonl",
            b'{"text": 3, "body": "a"}\n',
            1,
            "column 'text' should be text, but is a number",
            "columns of text: body",
        ),
        ("jsonl", b'{"text": null}\n', 1, "but is null", "on_bad=skip"),
        ("jsonl", b'{"text": "a\\u0000b"}\n', 1, "NUL character", "on_bad=skip"),
        ("jsonl", b'{"text": "a\\ud800b"}\n', 1, "surrogate", "on_bad=skip"),
        ("jsonl", b"[" * 100_000 + b"\n", 1, "not a complete line of JSON", "on_bad=skip"),
        ("jsonl", b'{"text": ' + b"9" * 5000 + b"}\n", 1, "not a complete line of JSON", "on_bad=skip"),
    ],
)
def test_a_bad_line_is_told_by_file_and_line_or_skipped_and_counted(
    tmp_path: Path, type: str, content: bytes, line: int, what: str, remedy: str
) -> None:
    path = write(tmp_path / "some.data", content)
    error = told(path, settings(type))
    assert error.where == f"{path}:{line}"
    assert what in error.what
    assert remedy in error.remedy
    assert "\n" not in error.what + error.remedy

    good = write(tmp_path / "good", content + b"\n" + (b'{"text": "end"}' if type == "jsonl" else b"end"))
    skips = Skips()
    documents = list(read(good, settings(type, on_bad="skip"), skips))
    assert documents[-1].text.endswith("end")
    assert skips.count >= 1
    assert f"{good}:{line}" in skips.first[0]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("packed", [False, True])
def test_a_json_array_is_a_document_an_item(tmp_path: Path, indent: int | None, packed: bool) -> None:
    rows = [{"text": "one"}, {"text": " "}, {"id": 1, "text": "둘\n셋"}]
    content = b"\xef\xbb\xbf\n" + json.dumps(rows, indent=indent).encode()
    path = write(tmp_path / "a.json", gzip.compress(content) if packed else content)
    assert list(read(path, settings("jsonl"))) == [Document("one", str(path), 1), Document("둘\n셋", str(path), 3)]


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ('[{"text": "a"},\n\n {"text": "b"\n', ":3", "not a complete JSON array"),
        ('\n[\n{"text": "a"}\n{"text": "b"}]', ":4", "not a complete JSON array"),
        ('[{"text": "a"}, "b"]', ", item 2", "a JSON object was expected, but this is text"),
        ('[{"text": "a"}, {"txt": "b"}]', ", item 2", "there is no column 'text'; the columns here: txt"),
        ('[{"text": ' + "[" * 100_000 + "]", ":1", "not a complete JSON array"),
    ],
)
def test_what_is_wrong_in_a_json_array_is_told_with_its_place(tmp_path: Path, content: str, where: str, what: str) -> None:
    path = write(tmp_path / "a.json", content)
    error = told(path, settings("jsonl"))
    assert what in error.what
    assert error.where == f"{path}{where}"
    assert error.remedy


def test_a_json_array_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_objects, "_LONGEST_ARRAY", 1000)
    path = write(tmp_path / "a.json", json.dumps([{"text": "word"}] * 100, indent=1))
    error = told(path, settings("jsonl"))
    assert "longer than" in error.what
    assert "one object a line" in error.remedy


@pytest.mark.parametrize("end", [".gz", ""])
@pytest.mark.parametrize(
    ("type", "endings", "remedy"),
    [
        ("text", (".jsonl", ".ndjson", ".json", ".JSONL"), "data=jsonl"),
        ("text", (".csv", ".tsv", ".tab"), "data=csv"),
        ("jsonl", (".csv", ".tsv", ".tab"), "data=csv"),
        ("text", (".parquet",), "data=parquet"),
        ("jsonl", (".parquet",), "data=parquet"),
        ("jsonl", (".arrow",), "as parquet, for data=parquet"),
    ],
)
def test_a_file_of_another_kind_is_refused_naming_the_right_one(
    tmp_path: Path, type: str, endings: tuple[str, ...], remedy: str, end: str
) -> None:
    for ending in endings:
        path = write(tmp_path / f"a{ending}{end}", '{"text": "fine"}\n')
        for on_bad in ("stop", "skip"):
            error = told(path, settings(type, on_bad=on_bad))
            assert f"a '{ending.lower()}' file" in error.what
            assert f"which data={type} does not read" in error.what
            assert remedy in error.remedy
            assert error.where == str(path)
    fine = write(tmp_path / f"a.txt{end}", '{"text": "fine"}\n')
    assert [document.text for document in read(fine, settings(type))] == ['{"text": "fine"}' if type == "text" else "fine"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_as_a_file_is(packed: bool) -> None:
    """A byte order mark, line ends, gzip, and lines that are not text."""
    content = b"\xef\xbb\xbfone\r\n\r\n\xff\r\ntwo\0\r\n\xeb\x91\x98"
    inlet, outlet = os.pipe()
    with os.fdopen(outlet, "wb") as stream:
        stream.write(gzip.compress(content) if packed else content)
    skips = Skips()
    with os.fdopen(inlet, "rb") as stream:
        found = list(readers.lines_of(readers.decompressed(stream), "standard input", settings(on_bad="skip"), skips))
    assert found == [(1, "one"), (2, ""), (5, "둘")]
    assert [line.partition(": ")[0] for line in skips.first] == ["standard input:3", "standard input:4"]


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("type", ["text", "jsonl"])
def test_a_file_without_text_is_told_or_counted(tmp_path: Path, type: str, content: bytes) -> None:
    path = write(tmp_path / "empty", content)
    error = told(path, settings(type))
    assert "no text" in error.what
    assert error.where == str(path)
    skips = Skips()
    assert list(read(path, settings(type, on_bad="skip"), skips)) == []
    assert skips.count == 1


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_a_gzip_file_that_breaks_off_stops_the_run(tmp_path: Path, on_bad: str) -> None:
    whole = gzip.compress(os.urandom(50_000).hex().encode() + b"\n")
    path = write(tmp_path / "a.txt.gz", whole[: len(whole) // 2])
    error = told(path, settings(on_bad=on_bad))
    assert "truncated" in error.what
    assert error.where == f"{path}:1"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    assert "damaged" in told(write(tmp_path / "b.gz", bytes(flipped)), settings(on_bad=on_bad)).what


def test_a_line_of_twenty_megabytes_is_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "long", b"word " * 4_000_000 + b"\nshort\n")
    first, second = read(path, settings(document_per="line"))
    assert len(first.text) > 19_000_000
    assert second == Document("short", str(path), 2)


def test_lines_and_documents_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a", "one two\n" * 100)
    monkeypatch.setattr(readers, "_LONGEST_DOCUMENT", 80)
    parts = list(read(path, settings()))
    assert "\n".join(part.text for part in parts) == ("one two\n" * 100).strip()
    assert max(len(part.text) for part in parts) <= 96
    assert [part.line for part in parts] == sorted({part.line for part in parts})
    monkeypatch.setattr(readers, "_LONGEST_LINE", 2**20)
    error = told(write(tmp_path / "b", b"x\n" + b"y" * (2**20 + 1)), settings())
    assert error.where.endswith("b:2")
    assert "longer than 1 MB" in error.what


def test_patterns_mean_files_folders_and_globs(tmp_path: Path) -> None:
    for name in ("b/two.txt", "b/one.txt", "b/deep/three.jsonl.gz", "b/.hidden", "b/.git/x", "top.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")

    def names(*patterns: str) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in expand([str(tmp_path / pattern) for pattern in patterns])]

    assert names("b") == ["b/deep/three.jsonl.gz", "b/one.txt", "b/two.txt"]
    assert names("b/*.txt") == ["b/one.txt", "b/two.txt"]
    assert names("**/*.txt") == ["b/one.txt", "b/two.txt", "top.txt"]
    assert names("top.txt", "b/two.txt", "b/*.txt") == ["top.txt", "b/two.txt", "b/one.txt"]
    strange = tmp_path / "odd[1].txt"
    strange.write_text("x")
    assert names("odd[1].txt") == ["odd[1].txt"]


@pytest.mark.parametrize(
    ("pattern", "what", "remedy"),
    [
        ("trian.txt", "does not exist", "did you mean 'train.txt'?"),
        ("nowhere/at/all.txt", "does not exist", "train.txt"),
        ("*.json", "no file matches", "patterns such as"),
        ("empty", "no file in this folder", "name files"),
    ],
)
def test_a_pattern_for_nothing_is_told_with_the_nearest_name(tmp_path: Path, pattern: str, what: str, remedy: str) -> None:
    (tmp_path / "train.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=what) as error:
        expand([str(tmp_path / pattern)])
    assert error.value.where == f"data.files: {tmp_path / pattern}"
    assert remedy in error.value.remedy


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    assert "cannot be read" in told(tmp_path / "gone", settings()).what
    assert "cannot be read" in told(tmp_path, settings()).what


def test_links_that_lead_nowhere_are_passed_over(tmp_path: Path) -> None:
    """Under a pattern as in a folder; by its own name such a link does not exist."""
    (tmp_path / "good.txt").write_text("a text\n")
    (tmp_path / "broken.txt").symlink_to("nowhere")
    (tmp_path / "circle.txt").symlink_to("circle.txt")
    (tmp_path / "folder").symlink_to(".")
    for pattern in ("*.txt", "**/*.txt", ""):
        assert {path.name for path in expand([str(tmp_path / pattern)])} == {"good.txt"}
    for name in ("broken.txt", "circle.txt"):
        with pytest.raises(DataError, match="does not exist"):
            expand([str(tmp_path / name)])
