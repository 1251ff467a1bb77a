"""One YAML file as all settings of a run: written by hand, printed by ``--cfg job``, or the ``config.yaml`` of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.finished_run import finished_run

from plmtrain import cli
from plmtrain.errors import SettingsErrors
from plmtrain.runs.command_settings import composed_for, kind_for, settings_for
from plmtrain.settings.decode import settings_from_run
from plmtrain.settings.identity import run_hash

OURS = """
name: ours
model: roberta
size: tiny
objective: dynamic_mlm
data:
  name: text
  files: [corpus]
tokenizer: {vocab_size: 16000}
trainer: {name: length_warmup, steps: 300}
"""
WORDS = (
    "name=ours model=roberta size=tiny objective=dynamic_mlm data=text data.files=[corpus] tokenizer.vocab_size=16000 "
    "trainer=length_warmup trainer.steps=300"
).split()


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("ours.yaml").write_text(OURS)
    return "ours.yaml"


@pytest.mark.parametrize("verb", ["pretrain", "check", "inspect", "prepare", "tokenizer"])
def test_a_file_is_a_command_line(ours: str, verb: str) -> None:
    assert settings_for(verb, [ours]) == settings_for("pretrain", WORDS)


def test_the_command_line_comes_after_the_file(ours: str) -> None:
    more = ["seed=7", "trainer.steps=40", "optimizer.lr=1e-5"]
    assert settings_for("pretrain", ["seed=7", ours, *more[1:]]) == settings_for("pretrain", [*WORDS, *more])
    other = [word for word in WORDS if not word.startswith(("data", "size"))]
    # A choice replaces all that the file says about its group, and epochs replace steps.
    assert settings_for("pretrain", [ours, "data=sample", "size=mini"]) == settings_for("pretrain", [*other, "size=mini"])
    assert settings_for("pretrain", [ours, "trainer=default", "trainer.epochs=2"]).trainer.epochs == 2


def test_a_file_of_a_task(tmp_path: Path) -> None:
    file = tmp_path / "tickets.yaml"
    file.write_text("task: {name: glue/rte, folder: glue}\ndata: {files: [a.tsv]}\ntrainer: {steps: 9}\n")
    expected = settings_for("finetune", ["task=glue/rte", "task.folder=glue", "data.files=[a.tsv]", "trainer.steps=9"])
    assert expected.trainer.epochs is None
    for verb in ("finetune", "check", "inspect"):
        assert kind_for(verb, [str(file)]).primary == "finetune"
        assert settings_for(verb, [str(file)]) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["pretrain", "model=xlnet", "objective=plm", "size=tiny", "name='a: b'", "trainer.steps=7"],
        ["pretrain", "objective=mixture", "objective.shares={mlm: 0.7, whole_word_mlm: 0.3}", "trainer.epochs=2"],
        ["finetune", "task=glue/sst2", "task.folder=glue", "model=roberta", "size=tiny"],
        ["pretrain", "experiment=electra_small"],
    ],
    ids=lambda words: words[1],
)
def test_what_cfg_job_prints_is_a_file_of_the_same_run(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--cfg", "job"]) == 0
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out)
    again, first = settings_for(words[0], [str(file)]), settings_for(words[0], words[1:])
    assert again == first
    assert run_hash(again) == run_hash(first)


def test_a_runs_own_config_repeats_it(tmp_path: Path) -> None:
    finished_run(tmp_path / "first", ["model=bert", "objective=mlm"])
    config = tmp_path / "first" / "config.yaml"
    before = settings_from_run(yaml.safe_load(config.read_text()))
    again = settings_for("pretrain", [str(config), "name=again"])
    assert again == before.model_copy(update={"name": "again"})
    # The choices behind a complete section are gone: a size would change nothing of it.
    with pytest.raises(SettingsErrors, match="size=tiny has no effect"):
        settings_for("pretrain", [str(config), "size=tiny"])


def test_a_fine_tuned_runs_config_starts_from_the_same_weights(tmp_path: Path) -> None:
    finished_run(tmp_path / "first", ["model=bert", "objective=mlm"])
    words = [
        f"init={tmp_path / 'first'}",
        "task=classification",
        "data.files=[a.tsv]",
        "model.dropout=0.25",
        "trainer.sequence_length=32",
    ]
    before = settings_for("finetune", words)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**before.model_dump(mode="json"), "resolved": {"precision": "fp32"}}))
    assert settings_for("finetune", [str(file)]) == before
    # Another shape than that of the weights is refused, from a file as from the command line.
    file.write_text(yaml.safe_dump({"init": str(tmp_path / "first"), "model": {"layers": 9}, "data": {"files": ["a.tsv"]}}))
    (problem,) = composed_for("finetune", [str(file)]).errors
    assert problem.what.startswith("model.layers is given by init=")
    assert problem.where == f"file: {file} (model.layers)"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("model: robreta\n", ("model has no choice 'robreta'", "file: bad.yaml (model)", "did you mean 'roberta'?")),
        ("trainer: {stpes: 3}\n", ("there is no setting 'trainer.stpes'", "file: bad.yaml (trainer.stpes)", "trainer.steps")),
        ("trainer: {steps: -3}\n", ("trainer.steps must be above 0", "file: bad.yaml (trainer.steps)", "above 0")),
        ("task: glue/rte\n", ("plmtrain pretrain has no group 'task'", "file: bad.yaml (task)", "plmtrain finetune bad.yaml")),
        ("defaults: [{override /model: bert}]\n", ("no defaults list", "file: bad.yaml (defaults)", "experiment=bad")),
        ("model: {_target_: os.system}\n", ("begin with '_'", "file: bad.yaml (model._target_)", "never code")),
        ("seed: ${oc.env:HOME}\n", ("interpolation that is refused", "file: bad.yaml (seed)", "${trainer.steps}")),
        ("a: &a [1]\nb: *a\n", ("anchors and aliases", "file: bad.yaml:1", "write the values out")),
        ("- 1\n", ("'key: value' lines", "file: bad.yaml", "model: roberta")),
        ("a: [\n", ("not YAML", "file: bad.yaml:2", "correct the line")),
        (None, ("there is no such file", "file: bad.yaml", "name a YAML file")),
    ],
)
def test_a_file_that_cannot_be(
    text: str | None, lines: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("bad.yaml").write_text(text)
    assert cli.main(["pretrain", "bad.yaml", "--cfg", "job"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert all(part in line for part, line in zip(lines, told, strict=True))


def test_all_errors_of_file_and_command_line_at_once(ours: str) -> None:
    Path("more.yaml").write_text("model: robreta\nschedule: {warmup: -1}\nmodell: 3\n")
    with pytest.raises(SettingsErrors) as caught:
        settings_for("pretrain", ["more.yaml", "trainer.stpes=3"])
    assert len(caught.value.errors) == 4


def test_other_programs_flags_lead_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretrain", "--config", "run.yaml"]) == 2
    assert "plmtrain pretrain run.yaml" in capsys.readouterr().err
