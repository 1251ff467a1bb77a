"""Tables as a corpus: the same documents as from JSON lines, and what is wrong in them is told by file and row."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from plmtrain.data.corpus import text_files
from plmtrain.data.corpus.documents import Reading, reading_of
from plmtrain.data.corpus.sources import find_sources
from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.text.readers import Skips

TEXTS = ["A mill, an old one.", 'He said "stand".', "Zwei Häuser\nam Bach", "", "물레방아\t하나"]
DOCUMENTS = [text for text in TEXTS if text]


def settings(type: str, *files: Path, **others: Any) -> DataSettings:
    values = {"name": type, "type": type, "files": list(map(str, files)) or ["x"], "processes": 1}
    return DataSettings.model_validate(values | others)


def documents(path: Path, data: DataSettings, skips: Skips | None = None) -> list[str]:
    return [document.text for document in text_files.read(path, data, skips or Skips())]


def csv_of(texts: list[str], separator: str = ",") -> str:
    rows = (f'{number}{separator}"{text.replace(chr(34), chr(34) * 2)}"' for number, text in enumerate(texts))
    return f"id{separator}body\n" + "".join(f"{row}\n" for row in rows)


def parquet_of(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


def zstd(content: bytes) -> bytes:
    """Two frames, as some programs write."""
    return b"".join(pyarrow.compress(part, codec="zstd", asbytes=True) for part in (content[:20], content[20:]))


def test_every_table_gives_the_same_documents(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(csv_of(TEXTS))
    (tmp_path / "b.csv").write_text(csv_of(TEXTS, ";"))
    (tmp_path / "c.csv").write_text(csv_of(TEXTS).partition("\n")[2])
    parquet_of(tmp_path / "a.parquet", id=range(len(TEXTS)), body=TEXTS)
    body = {"text_column": "body"}
    assert documents(tmp_path / "a.csv", settings("csv", **body)) == DOCUMENTS
    assert documents(tmp_path / "b.csv", settings("csv", **body, separator=";")) == DOCUMENTS
    assert documents(tmp_path / "c.csv", settings("csv", **body, columns=["id", "body"])) == DOCUMENTS
    assert documents(tmp_path / "a.parquet", settings("parquet", **body)) == DOCUMENTS


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tn\n"no end\t1\nfine\t2\n')
    assert documents(path, settings("csv")) == ['"no end', "fine"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gz", "zst"])
@pytest.mark.parametrize(("type", "name"), [("text", "a.txt"), ("jsonl", "a.jsonl"), ("csv", "a.csv")])
def test_compressed_files_are_read_as_they_are(tmp_path: Path, type: str, name: str, pack: Callable[[bytes], bytes]) -> None:
    contents = {
        "text": "Zwei Häuser\n",
        "jsonl": json.dumps({"text": "Zwei Häuser"}) + "\n",
        "csv": csv_of(["Zwei Häuser"]).replace("body", "text"),
    }
    content = contents[type].encode()
    path = tmp_path / f"{name}.{'gz' if pack is gzip.compress else 'zst'}"
    path.write_bytes(pack(content))
    assert documents(path, settings(type)) == ["Zwei Häuser"]
    path.write_bytes(pack(content)[:-6])
    with pytest.raises(DataError, match="damaged or truncated"):
        documents(path, settings(type))


def test_what_is_wrong_is_told_by_row_or_counted(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "a.parquet", text=["one", None, "three"])
    with pytest.raises(DataError, match="should be text, but is null") as told:
        documents(path, settings("parquet"))
    assert told.value.where == f"{path}, row 2"
    skips = Skips()
    assert documents(path, settings("parquet", on_bad="skip"), skips) == ["one", "three"]
    assert skips.count == 1
    with pytest.raises(DataError, match="there is no column 'body'") as told:
        documents(path, settings("parquet", text_column="body"))
    assert "data.text_column" in told.value.remedy
    with pytest.raises(DataError, match="there is no text in this file"):
        documents(parquet_of(tmp_path / "b.parquet", text=["", " "]), settings("parquet"))


@pytest.mark.parametrize(
    ("name", "type", "right"),
    [
        ("a.parquet", "text", "data=parquet"),
        ("a.tsv.gz", "jsonl", "data=csv"),
        ("a.jsonl.zst", "csv", "data=jsonl"),
        ("a.csv", "parquet", "data=csv"),
        ("a.arrow", "parquet", "as parquet"),
    ],
)
def test_a_file_of_another_kind_names_the_right_data(tmp_path: Path, name: str, type: str, right: str) -> None:
    (tmp_path / name).write_text("text\n")
    with pytest.raises(DataError) as told:
        documents(tmp_path / name, settings(type))
    assert right in told.value.remedy


def test_other_columns_of_a_parquet_file_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_of(tmp_path / "a.parquet", text=["one"], picture=[b"x" * 10_000])
    read: list[list[str]] = []
    genuine = parquet.ParquetFile.iter_batches

    def watched(self: parquet.ParquetFile, *values: Any, columns: Any = None, **others: Any) -> Any:
        for batch in genuine(self, *values, columns=columns, **others):
            read.append(batch.schema.names)
            yield batch

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", watched)
    assert documents(path, settings("parquet")) == ["one"]
    assert read == [["text"]]


def test_a_corpus_of_a_table_is_that_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(csv_of(DOCUMENTS))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in DOCUMENTS))
    parquet_of(tmp_path / "a.parquet", body=DOCUMENTS)
    for type in ("jsonl", "csv", "parquet"):
        data = settings(type, tmp_path / f"a.{type}", text_column="body")
        sources = find_sources(data, tmp_path / "hashes.json", lambda _: None)
        reading = Reading(data, sources, "train")
        passages = list(reading.passages())
        assert [passage.text for _, passage in passages] == DOCUMENTS
        places = [place for place, _ in passages]
        assert places == sorted(places)
        assert places[-1] <= reading.total_bytes
        assert reading_of(data, sources)["text_column"] == "body"
