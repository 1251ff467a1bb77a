"""Damaged and hostile JSON is one error, and a run's own files survive it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from plmtrain.errors import DataError, DiskError, SettingsError
from plmtrain.interop.folder import read_json
from plmtrain.json_files import DEEPEST, DamagedJson, parse, read_object, read_record
from plmtrain.study.sweep_record import read_records
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.training.checkpoint import Journal
from plmtrain.training.lock import RunLock
from plmtrain.training.metrics_log import MetricsLog
from plmtrain.training.run_folder import RunFolder


@dataclass(frozen=True)
class Point:
    x: int
    name: str = ""


def _place(path: Path, content: str | None) -> Path:
    """Put a content at a path; a folder for None."""
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    return path


DAMAGE = {
    "brackets": "[" * 100_000,
    "objects": '{"a":' * 100_000,
    "deep": '{"a":' * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1),
    "half": '{"x": 1',
    "list": "[1]",
    "digits": '{"x": ' + "9" * 5_000 + "}",
    "folder": None,
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
class TestDamage:
    def test_it_is_one_error(self, tmp_path: Path, content: str | None) -> None:
        path = _place(tmp_path / "tokenizer.json", content)
        with pytest.raises(DamagedJson):
            read_object(path)
        with pytest.raises(SettingsError, match=r"tokenizer\.json cannot be read"):
            read_json(path)
        if content is not None:  # a folder of that name is no tokenizer
            with pytest.raises(DataError, match="damaged"):
                Tokenizer.load(tmp_path)

    def test_a_runs_own_files_survive_it(self, tmp_path: Path, content: str | None) -> None:
        run = RunFolder(tmp_path)
        _place(run.status_path, content)
        assert run.status() == {}
        _place(tmp_path / "checkpoints.json", content)
        assert Journal.read(tmp_path) == Journal()
        _place(tmp_path / "lock.json", content)
        assert RunLock(tmp_path / "lock.json").holder() is None
        assert read_records(tmp_path) == []

    def test_the_lock_is_taken_over_or_the_folder_in_its_place_named(self, tmp_path: Path, content: str | None) -> None:
        path, lines = _place(tmp_path / "lock.json", content), []
        if content is None:
            with pytest.raises(SettingsError, match="a folder in the place of the run's lock"):
                RunLock(path).__enter__()
        else:
            with RunLock(path, lines.append):
                assert "unknown process" in lines[0]

    def test_such_a_line_of_metrics_is_passed_over(self, tmp_path: Path, content: str | None) -> None:
        log = MetricsLog(tmp_path / "metrics.jsonl")
        if content is None:
            log.path.mkdir()
            with pytest.raises(DiskError):
                list(log.records())
        else:
            log.path.write_text(f'{{"step": 1}}\n{content}\n{{"step": 2}}\n')
            assert list(log.records()) == [{"step": 1}, {"step": 2}]


def test_a_nested_value_within_the_limit_is_read() -> None:
    text = "[" * DEEPEST + "]" * DEEPEST
    assert str(parse(text)) == text


def test_a_field_of_another_type_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "point.json"
    for text, damage in (('{"x": "1"}', "x: "), ('{"name": "a"}', "x: "), ('{"x": 1, "name": 2}', "name: ")):
        path.write_text(text)
        with pytest.raises(DamagedJson, match=damage):
            read_record(path, Point)
    path.write_text('{"x": 1}')
    assert read_record(path, Point) == Point(1)


def test_a_lock_with_text_for_a_number_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_text('{"host": "a", "pid": "12"}')
    assert RunLock(path).holder() is None


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"x": 1}')
    with pytest.raises(DamagedJson, match="8 bytes"):
        read_object(path, largest=7)
