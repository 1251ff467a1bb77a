"""Tables of answers: what was in the row stays as it was, and what cannot be written leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.tables import table_files
from plmtrain.data.tables.answer_files import answer_file
from plmtrain.errors import DataError, SettingsError
from plmtrain.settings.data import TableSettings
from plmtrain.text.readers import Skips


def cells_of(path: Path) -> list[Mapping[str, object]]:
    return [row.cells for row in table_files.read(path, {}, TableSettings(), Skips())]


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))


@given(rows=st.lists(st.tuples(ANY, ANY), min_size=1, max_size=4))
@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl"])
def test_rows_come_back_with_the_answers_behind_them(
    tmp_path_factory: pytest.TempPathFactory, ending: str, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / f"out{ending}"
    if ending == ".tsv":
        rows = [(text.replace("\t", " ").replace("\n", " "), label.replace("\t", " ").replace("\n", " ")) for text, label in rows]
    with answer_file(path) as table:
        for text, label in rows:
            table.write({"text": text, "label": label}, {"prediction": "x", "probability_x": 0.25})
    read = [tuple(row.values()) for row in cells_of(path)]
    assert list(cells_of(path)[0]) == ["text", "label", "prediction", "probability_x"]
    assert read == [(*row, "x", 0.25 if ending == ".jsonl" else "0.25") for row in rows]


def test_cells_that_are_no_text(tmp_path: Path) -> None:
    row = {"id": 7, "gold": None, "score": 1.5, "ok": True, "spans": [1, "둘"]}
    for name in ("a.csv", "a.jsonl"):
        with answer_file(tmp_path / name) as table:
            table.write(row, {"prediction": 3})
            table.write({"id": 8}, {"prediction": 4})
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()] == [
        {**row, "prediction": 3},
        {"id": 8, "prediction": 4},
    ]
    (first, second) = cells_of(tmp_path / "a.csv")
    assert list(first.values()) == ["7", "", "1.5", "true", '[1, "둘"]', "3"]
    assert list(second.values()) == ["8", "", "", "", "", "4"]


@pytest.mark.parametrize(
    ("name", "rows", "what"),
    [
        ("a.tsv", [{"text": "a\tb"}], "row 1 has a tab or a line end in a cell"),
        ("a.csv", [{"text": "a"}, {"text": "b", "id": 1}], "row 2 has a column 'id' that the first one does not have"),
        ("a.jsonl", [{"text": "a", "prediction": "b"}], "the table has a column 'prediction' already"),
    ],
)
def test_what_a_table_cannot_hold_leaves_nothing_behind(
    tmp_path: Path, name: str, rows: list[dict[str, object]], what: str
) -> None:
    def written() -> None:
        with answer_file(tmp_path / name) as table:
            for row in rows:
                table.write(row, {"prediction": "x"})

    with pytest.raises(DataError, match=what):
        written()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "what"), [("a.txt", "cannot be seen"), ("a.csv.gz", "cannot be seen"), ("there.csv", "exists")])
def test_a_file_that_cannot_be_written_is_refused_before_anything_else(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(SettingsError, match=what), answer_file(tmp_path / name):
        raise AssertionError("the body runs")
    assert (tmp_path / "there.csv").read_text() == "mine"
