"""What ``plmtrain list`` and docs/settings.md say about each setting: complete, and true by the classes and the YAML files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from plmtrain.commands import list as command
from plmtrain.errors import SettingsError
from plmtrain.settings.composing.comments import comments
from plmtrain.settings.composing.folders import choices, conf_folder
from plmtrain.settings.explained import all_settings, of_choice, settings_in
from plmtrain.settings.kinds import COMPOSITIONS, keys_of
from plmtrain.settings.optimizer import OptimizerSettings, ScheduleSettings
from plmtrain.settings.ranges import values_of
from plmtrain.settings.trainer import TrainerSettings

ROOT = Path(__file__).parents[2]


def test_every_setting_of_every_run_is_explained() -> None:
    keys = set()
    for kind in COMPOSITIONS:
        keys |= {key for key in keys_of(kind.settings) if key not in kind.variants}
        for group, (_, known) in kind.variants.items():
            keys |= {key for one in known().values() for key in keys_of(one, f"{group}.")}
    # The bases of models, objectives and tasks are groups: their own keys come with each of their classes.
    explained = {setting.key: setting for settings in all_settings().values() for setting in settings}
    assert set(explained) == keys
    assert [key for key, setting in explained.items() if not setting.meaning or not setting.defaults] == []


def test_the_page_of_all_settings_is_what_the_files_and_classes_say() -> None:
    spec = importlib.util.spec_from_file_location("write_settings_page", ROOT / "scripts" / "write_settings_page.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text("utf-8") == script.page(), "run: python scripts/write_settings_page.py"


def test_a_default_is_the_value_of_the_yaml() -> None:
    for group in ("trainer", "optimizer", "objective"):
        by_key = [(setting.key.partition(".")[2], setting) for setting in settings_in(group)]
        for choice in choices(group):
            written = yaml.safe_load((conf_folder() / group / f"{choice}.yaml").read_text("utf-8"))
            for name in written.keys() - {"defaults", "suggests"}:
                (setting,) = [setting for key, setting in by_key if key == name and choice in setting.defaults]
                assert setting.defaults[choice] == written[name], (group, choice, name)


@pytest.mark.parametrize(
    ("settings", "name", "words", "good", "bad"),
    [
        (TrainerSettings, "batch_size", "a whole number above 0 and at most 1,048,576", [1, 2**20], [0, -1, 1.5, 2**20 + 1]),
        (TrainerSettings, "workers", "a whole number at least 0 and at most 256, or null", [0, 256, None], [-1, 257]),
        (TrainerSettings, "epochs", "a number above 0 and at most 1,000,000, or null", [0.5, None], [0, 1e7]),
        (TrainerSettings, "precision", "auto, fp32, bf16 or fp16", ["fp16"], ["fp8"]),
        (TrainerSettings, "compile", "true or false", [True], [3]),
        (ScheduleSettings, "end", "a number from 0 to 1", [0, 1], [-0.1, 1.1]),
    ],
)
def test_the_words_of_a_range_are_what_the_class_takes(
    settings: type[BaseModel], name: str, words: str, good: list[object], bad: list[object]
) -> None:
    assert values_of(settings)[name] == words
    for value in good:
        settings.model_validate({name: value})
    for value in bad:
        with pytest.raises(ValidationError):
            settings.model_validate({name: value})


def test_lists_are_worded() -> None:
    assert values_of(OptimizerSettings)["betas"] == "a list of two: each a number at least 0 and below 1"
    assert values_of(TrainerSettings)["phases"].startswith("a list, each a set of keys: steps, share, sequence_length")


def test_comments_are_those_above_keys(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("# About the file.\n\n# One,\n# and two.\na: 1\nb:\n  # Inner.\n  c: 2\nd: 3\n# Last: not d's.\ne: 4\n")
    assert comments(file) == {"a": "One, and two.", "b.c": "Inner.", "e": "Last: not d's."}


def test_the_same_name_with_two_meanings_is_two_settings() -> None:
    shares = [setting for setting in settings_in("objective") if setting.key == "objective.random_share"]
    where = {frozenset(setting.defaults): setting.meaning for setting in shares}
    assert where[frozenset({"plm"})].startswith("How often the second segment is a text from elsewhere")
    assert where[frozenset({"span_mlm", "spanbert"})].startswith("The share of spans")


@pytest.mark.parametrize("word", ["trainer.batch_size", "launch", "trainer", "objective=rtd", "size=tiny", "seed", "run"])
def test_a_word_is_explained_within_a_page(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run([word]) == 0
    shown = capsys.readouterr().out
    assert shown.strip()
    # Lists of choices are one line each, for grep.
    explained = [line for line in shown.splitlines() if not line.startswith("  ") or line.startswith("    ")]
    assert max(map(len, explained)) <= 80


def test_a_choice_shows_its_own_values_and_comments(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["optimizer=finetuning", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["optimizer.lr"] == {"value": "3e-05", "meaning": "The peak learning rate."}
    assert told["optimizer.betas"]["value"] == "[0.9, 0.999]"  # of adamw, which it is based on
    assert ("model.layers", "2") in [(key, value) for key, value, _ in of_choice("size", "tiny")]


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("trainer.bach_size", "did you mean 'trainer.batch_size'?"),
        ("trainer.learning_rate", "that is optimizer.lr here (the peak)"),
        ("batch_size", "did you mean 'trainer.batch_size'?"),
        ("modle", "did you mean 'model'?"),
        ("size=tinny", "did you mean 'tiny'?"),
        ("sizes=tiny", "did you mean 'size'?"),
    ],
)
def test_a_wrong_word_gets_the_nearest(word: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as told:
        command.run([word])
    assert told.value.remedy == remedy
