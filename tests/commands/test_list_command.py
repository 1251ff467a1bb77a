"""``plmtrain list``: everything there is, from the files and settings classes themselves."""

from __future__ import annotations

import json
import re
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

    monkeypatch.setattr(EncoderSettings, "kind", "another")
    command.run(["matrix", "--json"])
    assert json.loads(capsys.readouterr().out)["roberta"]["dynamic_mlm"] == "needs disentangled or encoder"


def test_own_files_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# My own model.\ndefaults: [roberta, _self_]\nname: mine\n")
    assert command.run(["model", "--json", "--config-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["mine"] == "My own model."
    assert command.run(["matrix", "--config-dir", str(tmp_path)]) == 0
    assert "mine" in capsys.readouterr().out


def test_the_matrix_is_readable_on_a_page_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Every model stands in one paragraph, above the objectives that train it; every objective stands in every paragraph."""
    command.run(["matrix"])
    _, *paragraphs = capsys.readouterr().out.strip().split("\n\n")
    assert max(map(len, "\n".join(paragraphs).splitlines())) <= 80
    table, shown = command.matrix(None), []
    for paragraph in paragraphs:
        models, _, answers = paragraph.partition("\n  trained by: ")
        names = [name for line in models.splitlines() for name in line.strip().rstrip(",").split(", ")]
        trained, *refused = re.sub(r"\n {4,}", " ", answers).split("\n  not by ")
        for name in names:
            assert {objective for objective, answer in table[name].items() if answer == "yes"} == set(trained.split(", "))
            assert {name for line in refused for name in line.partition(": ")[0].split(", ")} == {
                objective for objective, answer in table[name].items() if answer != "yes"
            }
        shown += names
    assert sorted(shown) == sorted(table)
    assert "albert, albert_large" in paragraphs[0]


def test_the_matrix_of_many_models_still_fits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command.run(["matrix"])
    without = len(capsys.readouterr().out.splitlines())
    for number in range(30):
        path = tmp_path / "model" / f"another_long_name_{number}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# One of many.\ndefaults: [roberta, _self_]\nname: another_long_name_{number}\n")
    command.run(["matrix", "--config-dir", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= without + 15
