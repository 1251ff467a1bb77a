"""Every mistake of a run is told at once, with what is wrong, where it comes from, and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from plmtrain.errors import SettingsErrors
from plmtrain.settings.base import Settings
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import finetune_settings, override, pretrain_settings, settings_from_run
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.kinds import KINDS
from plmtrain.settings.trainer import PhaseSettings


def errors(*overrides: str, config_dir: Path | None = None) -> list[tuple[str, str, str]]:
    with pytest.raises(SettingsErrors) as caught:
        pretrain_settings(compose(overrides, None if config_dir is None else str(config_dir)))
    assert caught.value.exit_code == 2
    return [(error.what, error.where, error.remedy) for error in caught.value.errors]


def one(*overrides: str) -> str:
    found = errors(*overrides)
    assert len(found) == 1, found
    return "\n".join(found[0])


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("trainer.stpes=10", "trainer.steps"),
        ("trainer.batchsize=4", "trainer.batch_size"),
        ("trainer.lr=0.1", "optimizer.lr"),
        ("steps=10", "trainer.steps"),
        ("lr=0.1", "optimizer.lr"),
        ("batch_size=8", "trainer.batch_size"),
        ("modle.layers=2", "model.layers"),
        ("data.flies=[x]", "data.files"),
        ("tokeniser.vocab_size=100", "tokenizer.vocab_size"),
        ("objctive=mlm", "objective"),
        ("Seed=1", "seed"),
        ("model=robreta", "roberta"),
        ("model=bert_base", "bert"),
        ("model=bert-base-uncased", "bert"),
        ("size=tinny", "tiny"),
        ("objective=mml", "mlm"),
        ("trainer.precision=fp61", "fp16"),
        ("schedule.type=linaer", "linear"),
        ("resume.allow=[optimiser.lr]", "optimizer.lr"),
        ("objective.type=masked_ml", "masked_lm"),
    ],
)
def test_the_nearest_name_is_suggested(override: str, suggestion: str) -> None:
    message = one(override)
    assert f"'{suggestion}'" in message.splitlines()[2]
    assert message.splitlines()[1] == f"command line: {override}"


def test_one_mistake_is_told_once() -> None:
    """What follows from an objective that does not fit, or from an unknown task, is no second mistake."""
    assert "needs a backbone of kind disentangled or encoder" in one("model=gpt2", "objective=mlm")
    with pytest.raises(SettingsErrors) as caught:
        finetune_settings(compose(["task=sst2"], primary="finetune"))
    assert [error.what for error in caught.value.errors] == ["task has no choice 'sst2'"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trainer.steps=0"], "above 0"),
        (["trainer.steps=ten"], "a whole number"),
        (["trainer.steps=1.5"], "a whole number"),
        (["trainer.steps=null"], "a whole number"),
        (["trainer.steps=[1]"], "a whole number"),
        (["seed=true"], "true is not a number"),
        (["trainer.epochs=false"], "false is not a number"),
        (["optimizer.betas=[true,0.9]"], "true is not a number"),
        (["trainer={steps: 1}"], "name of one of its choices"),
        (["trainer.compile=maybe"], "true or false"),
        (["optimizer.lr=fast"], "a number"),
        (["optimizer.betas=[0.9]"], "optimizer.betas"),
        (["objective.mask_probability=1.5"], "below 1"),
        (["objective.mask_share=0.95"], "must not exceed 1"),
        (["model.heads=7"], "must divide width"),
        (["data=text"], "files is missing"),
        (["trainer.phases=[{steps: 10}]"], "add up to 10"),
        (["trainer.sequence_length=1024"], "more than model=bert takes"),
        (["trainer.batch_size=5", "launch.processes=2"], "cannot be divided"),
        (["trainer.micro_batch_size=64"], "more than the batch"),
        (["schedule.warmup=1000"], "leaves no step of trainer.steps"),
        (["schedule=warmup_stable_decay", "schedule.warmup=600", "schedule.decay=600"], "are more than trainer.steps"),
        (["tokenizer.family=gpt2"], "lacks: cls, mask, sep"),
        (["model=bert", "model=roberta"], "chosen twice"),
        (["model=null"], "no choice"),
        (["model=[bert]"], "name of one of its choices"),
        (["data.files=a.txt,b.txt"], "write data.files=[a.txt,b.txt]"),
        (["resume.allow=[model.width]"], "cannot name model.width"),
        (["seed=-1"], "at least 0"),
        (["trainer.steps.x=1"], "trainer.steps"),
        (["model.name='a b'"], "letters"),
        (["trainer.steps=1000000000000"], "at most 1,000,000,000"),
        ([f"trainer.steps=1{'0' * 30}"], "at most 1,000,000,000"),
        (["trainer.epochs=1e15"], "at most 1,000,000"),
        (["trainer.batch_size=10000000"], "at most 1,048,576"),
        (["model.layers=1000000"], "at most 4,096"),
        (["tokenizer.vocab_size=1000000000"], "at most 4,194,304"),
        (["data.processes=1000"], "at most 256"),
        (["optimizer.lr=1e400"], "a finite number"),
    ],
)
def test_what_is_wrong_is_said(overrides: list[str], words: str) -> None:
    message = one(*overrides)
    assert words in message
    # Of several the one is named that is wrong beside the others: the last, but for a batch that is no fault by itself.
    blamed = overrides[0] if "launch.processes=2" in overrides else overrides[-1]
    assert message.splitlines()[1] == f"command line: {blamed}"


def test_no_number_is_without_an_upper_bound() -> None:
    """Whatever a setting counts, 10^12 of it is refused, and so is 10^400."""
    classes = {each for kind in KINDS for each in _classes_in(kind.settings)}
    classes |= {each for kind in KINDS for _, known in kind.variants.values() for each in known().values()}
    numbers = [
        (each, name)
        for each in sorted({*classes, PhaseSettings, GenerationSettings}, key=lambda each: each.__name__)
        for name, field in each.model_fields.items()
        if name != "seed" and {int, float} & {field.annotation, *get_args(field.annotation)}
    ]
    assert len(numbers) > 60
    for each, name in numbers:
        for absurd in (10**12, 10**400):
            with pytest.raises(ValidationError) as caught:
                each.model_validate({name: absurd})
            assert (name,) in {error["loc"] for error in caught.value.errors()}, (each, name)


def _classes_in(settings: type[Settings]) -> Iterator[type[Settings]]:
    """The settings class and those of its groups."""
    yield settings
    for field in settings.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from _classes_in(field.annotation)


def test_everything_is_told_at_once() -> None:
    found = errors(
        "model=robreta",
        "trainer.stpes=3",
        "trainer.batch_size=-1",
        "optimizer.lr=fast",
        "+foo=1",
        "name=${oc.env:HOME}",
        "objective.mask_share=0.95",
        "schedule.type=linaer",
        "data.files=a,b",
        "tokenizer.vocab_size=many",
        "seed=x",
    )
    assert len(found) == 11
    assert len({what for what, _, _ in found}) == 11


def test_rules_between_groups_are_told_beside_mistakes_elsewhere() -> None:
    words = " ".join(what for what, _, _ in errors("trainer.sequence_length=1024", "optimizer.lr=fast", "tokenizer.family=gpt2"))
    assert "trainer.sequence_length" in words
    assert "optimizer.lr" in words
    assert "gpt2" in words


def test_phases_are_judged_with_their_objective() -> None:
    phases = (
        "[{steps: 5, objective: {mask_prob: 0.3}}, {steps: 5, objective: {mask_probability: 3, type: clm}, sequence_length: 999}]"
    )
    words = [what + remedy for what, _, remedy in errors("trainer.steps=10", f"trainer.phases={phases}")]
    assert any("trainer.phases.0.objective.mask_prob'" in word and "mask_probability" in word for word in words)
    assert any("trainer.phases.1.objective.mask_probability must be below 1" in word for word in words)
    assert any("a phase cannot change objective.type" in word for word in words)
    assert any("trainer.phases.1.sequence_length (999)" in word for word in words)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text("defaults: [default, _self_]\nbatch_size: -4\nstpes: 3\n")
    found = errors("trainer=mine", config_dir=tmp_path)
    assert [where for _, where, _ in found] == [
        f"file: {tmp_path}/trainer/mine.yaml (trainer.batch_size)",
        f"file: {tmp_path}/trainer/mine.yaml (trainer.stpes)",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr: ${optimizer.missing}\n", "refers to a setting that does not exist"),
        ("lr: ${optimizer.lr}\n", "refers to a setting that does not exist"),
        ("lr: ???\n", "has no value"),
    ],
)
def test_values_that_are_not_there(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("type: adamw\n" + text)
    found = errors("optimizer=mine", config_dir=tmp_path)
    assert len(found) == 1
    assert words in found[0][0]
    assert "mine.yaml" in found[0][1]
    # The command line may still give it.
    assert pretrain_settings(compose(["optimizer=mine", "optimizer.lr=0.5"], str(tmp_path))).optimizer.lr == 0.5


def test_files_that_do_not_fit_together_are_told_without_hydras_words(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel: 5\n")
    found = errors("experiment=mine", config_dir=tmp_path)
    assert "\n".join(found[0]).count("\n") == 2


def test_a_plain_reference_on_the_command_line() -> None:
    settings = pretrain_settings(compose(["trainer.save_every=${trainer.steps}", "trainer.steps=77"]))
    assert settings.trainer.save_every == 77


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name=2024", "2024"),
        ("data.validation_files=held.txt", ("held.txt",)),
        ("trainer.steps=1e3", 1000),
        ("optimizer.lr=1", 1.0),
    ],
)
def test_what_people_write_is_understood(text: str, value: object) -> None:
    read = reduce(getattr, text.partition("=")[0].split("."), pretrain_settings(compose([text])))
    assert (read, type(read)) == (value, type(value))


def test_settings_survive_their_own_file() -> None:
    settings = pretrain_settings(compose(["model=albert", "size=tiny", "trainer.steps=5", "trainer.phases=[{steps: 5}]"]))
    values = {**settings.model_dump(mode="json"), "resolved": {"precision": "fp32"}}
    assert settings_from_run(values) == settings


def test_a_run_with_other_data() -> None:
    settings = pretrain_settings(compose(["size=tiny"]))
    changed = override(settings, ["data=text", "data.files=[other.txt]", "trainer.evaluate_batches=2"])
    assert changed.data.files == ("other.txt",)
    assert changed.data.type == "text"
    assert changed.trainer.evaluate_batches == 2
    assert changed.model == settings.model
    with pytest.raises(SettingsErrors, match="cannot be chosen again"):
        override(settings, ["model=roberta"])


def finetune_errors(*overrides: str) -> list[tuple[str, str, str]]:
    with pytest.raises(SettingsErrors) as caught:
        finetune_settings(compose(overrides, primary="finetune"))
    return [(error.what, error.where, error.remedy) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "there is nothing to train task=classification on"),
        (["data.files=[a]", "task.text=[a,a]"], "names one column twice"),
        (["data.files=[a]", "task.text=[a,b,c]"], "too few or too many values"),
        (["data.files=[a]", "task.labels=[yes]"], "labels must be two or more, all different"),
        (["data.files=[a]", "task.metrics=[precision]"], "cannot be 'precision'"),
        (["data.files=[a]", "task.lable=x"], "there is no setting 'task.lable'"),
        (["data.files=[a]", "task=glue/sst3"], "task has no choice 'glue/sst3'"),
        (["data.files=[a]", "objective=mlm"], "plmtrain finetune has no group 'objective'"),
        (["data.validation_files=[a]"], "files is missing"),
        (["data.files=[a]", "trainer.epochs=0"], "must be above 0"),
        (["data.files=[a]", "trainer.epochs=2", "trainer.steps=5"], "steps or of epochs, not both"),
        (["data.files=[a]", "trainer.hours=2", "trainer.steps=5"], "steps or of hours, not both"),
        (["data.files=[a]", "trainer.hours=2", "trainer.epochs=5"], "epochs or of hours, not both"),
        (["data.files=[a]", "trainer.hours=2", "trainer.steps=4", "trainer.epochs=5"], "not all of them"),
        (["data.files=[a]", "trainer.hours=-1"], "must be above 0"),
        (
            ["data.files=[a]", "trainer.hours=2", "trainer.phases=[{steps: 5}, {steps: 5}]"],
            "how many hours hold is not known before",
        ),
    ],
)
def test_mistakes_in_fine_tuning_are_told_like_others(overrides: list[str], words: str) -> None:
    what, place, remedy = finetune_errors(*overrides)[0]
    assert words in what
    assert place
    assert remedy


def test_a_run_is_as_long_as_the_command_line_says() -> None:
    def trainer(*overrides: str):
        return finetune_settings(compose(["data.files=[a]", *overrides], primary="finetune")).trainer

    assert trainer().epochs == 3
    assert trainer("trainer.epochs=5").epochs == 5
    for words in (["trainer.steps=70"], ["trainer.epochs=null", "trainer.steps=70"]):
        assert (trainer(*words).epochs, trainer(*words).steps) == (None, 70)
    assert (trainer("trainer.hours=1.5").epochs, trainer("trainer.hours=1.5").hours) == (None, 1.5)
    assert (trainer("trainer.hours=null").epochs, trainer("trainer.epochs=5").hours) == (3, None)
    warmup = pretrain_settings(compose(["trainer=length_warmup", "trainer.hours=0.5", "trainer.milestones=[100000]"])).trainer
    assert (warmup.hours, len(warmup.phases)) == (0.5, 4)
    assert pretrain_settings(compose(["trainer.epochs=2"])).trainer.epochs == 2
    assert pretrain_settings(compose([])).trainer.epochs is None


def test_what_a_fine_tuning_run_keeps_makes_the_same_settings() -> None:
    made = finetune_settings(compose(["data.files=[a]", "task=glue/mnli", "model=albert"], primary="finetune"))
    assert settings_from_run(made.model_dump(mode="json")) == made
    changed = override(made, ["data.files=[b]", "task.validation_split=validation_mismatched"])
    assert (changed.data.files, changed.task.validation_split) == (("b",), "validation_mismatched")
    with pytest.raises(SettingsErrors, match="task belongs to the run"):
        override(made, ["task=glue/rte"])
