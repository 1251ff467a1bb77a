"""``plmtrain list``: everything there is, from the files and settings classes themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plmtrain.commands import list as command
from plmtrain.settings.composing.folders import GROUPS, choices


def test_every_choice_of_every_group_is_listed_with_a_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run([]) == 0
    shown = capsys.readouterr().out
    for group in GROUPS:
        assert f"{group}=..." in shown
        for choice in choices(group):
            line = next(line for line in shown.splitlines() if line.startswith(f"  {choice} "))
            assert len(line.split()) > 2


@pytest.mark.parametrize("word", ["model", "models"])
def test_one_group(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run([word, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["model"]


def test_the_matrix_says_why_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command.run(["matrix", "--json"])
    table = json.loads(capsys.readouterr().out)
    assert set(table) == set(choices("model"))
    assert all(set(row) == set(choices("objective")) for row in table.values())
    assert table["roberta"]["dynamic_mlm"] == "yes"

    from plmtrain.settings.models.encoder import EncoderSettings

    monkeypatch.setattr(EncoderSettings, "kind", "decoder")
    command.run(["matrix", "--json"])
    assert json.loads(capsys.readouterr().out)["roberta"]["dynamic_mlm"] == "needs encoder"


def test_own_files_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# My own model.\ndefaults: [roberta, _self_]\nname: mine\n")
    assert command.run(["model", "--json", "--config-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["mine"] == "My own model."
    assert command.run(["matrix", "--config-dir", str(tmp_path)]) == 0
    assert "mine" in capsys.readouterr().out
