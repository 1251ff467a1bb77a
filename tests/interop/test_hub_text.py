"""Datasets of the hub as a corpus, by folders in the hub's layout: the same text as from the files themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from plmtrain.errors import DataError, SettingsErrors
from plmtrain.interop import hub_text
from plmtrain.interop.hub_text import located
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.data import DataSettings
from plmtrain.settings.decode import pretrain_settings

CARD = """---
configs:
- config_name: {subset}
  data_files:
  - {{split: train, path: {subset}/train-*}}
  - {{split: validation, path: {subset}/validation-*}}
---
"""


def settings(folder: Path, **others: Any) -> DataSettings:
    return DataSettings.model_validate({"name": "hub", "type": "hub", "hub": str(folder), "processes": 1} | others)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    (folder / "en").mkdir(parents=True)
    (folder / "README.md").write_text(CARD.format(subset="en"))
    for number, texts in enumerate((["one", "two"], ["three"])):
        parquet.write_table(pyarrow.table({"text": texts}), folder / "en" / f"train-0000{number}-of-00002.parquet")
    parquet.write_table(pyarrow.table({"text": ["held out"]}), folder / "en" / "validation-00000-of-00001.parquet")
    return folder


def test_the_files_of_the_splits_are_read_in_order(dataset: Path) -> None:
    data = located(settings(dataset, subset="en", validation_split="validation", text_column="text"))
    names = [f"train-0000{number}-of-00002.parquet" for number in range(2)]
    assert (data.type, [Path(path).name for path in data.files]) == ("parquet", names)
    assert [Path(path).name for path in data.validation_files] == ["validation-00000-of-00001.parquet"]
    assert data.hub is None
    assert located(settings(dataset, subset="en")).validation_files == ()
    assert located(data) is data


@pytest.mark.parametrize(
    ("name", "content", "type"),
    [("a.jsonl", json.dumps({"text": "one"}) + "\n", "jsonl"), ("a.csv", "text\none\n", "csv"), ("a.txt", "one\n", "text")],
)
def test_each_format_has_its_reader(tmp_path: Path, name: str, content: str, type: str) -> None:
    (tmp_path / name).write_text(content)
    data = located(settings(tmp_path))
    assert (data.type, data.files) == (type, (str(tmp_path / name),))


def test_what_is_not_there_is_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no split 'valid'") as told:
        located(settings(dataset, subset="en", validation_split="valid"))
    assert (told.value.where, told.value.remedy) == ("data.validation_split", "did you mean 'validation'?")
    with pytest.raises(DataError, match="cannot be read") as told:
        located(settings(dataset, subset="de"))
    assert "de" in told.value.where
    with pytest.raises(DataError, match="cannot be read") as told:
        located(settings(tmp_path / "nowhere"))
    assert "data.hub=FOLDER" in told.value.remedy


def test_settings_of_the_hub_are_for_the_hub() -> None:
    for words, problem in (
        (["data=hub"], "hub is missing"),
        (["data=hub", "data.hub=a/b", "data.files=[x.txt]"], "files are not for data=hub"),
        (["data=text", "data.files=[x.txt]", "data.hub=a/b"], "hub is for data=hub"),
    ):
        with pytest.raises(SettingsErrors, match=problem):
            pretrain_settings(compose(words))


def test_a_run_asks_the_hub_once(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    genuine = hub_text._builder

    def counted(place: str, *others: Any) -> Any:
        asked.append(place)
        return genuine(place, *others)

    monkeypatch.setattr(hub_text, "_builder", counted)
    data = settings(dataset, subset="en")
    assert located(data) == located(data)
    assert asked == [str(dataset)]
