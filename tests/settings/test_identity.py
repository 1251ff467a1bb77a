"""Which run a set of settings is, and what a change of settings means to it."""

from __future__ import annotations

import re

import pytest

from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import completed, finetune_settings, pretrain_settings
from plmtrain.settings.identity import drift, run_hash, run_name


def settings(*overrides: str):
    return pretrain_settings(compose(["size=tiny", *overrides]))


FREE = [
    "name=other",
    "runs_dir=elsewhere",
    "resume.strict=true",
    "resume.allow=[optimizer.lr]",
    "launch.processes=2",
    "launch.timeout=5",
    "tracker=wandb",
    "trainer.save_every=7",
    "trainer.log_every=3",
    "trainer.keep=9",
    "trainer.evaluate_every=5",
    "trainer.workers=4",
    "trainer.threads=1",
    "trainer.device=cpu",
    "trainer.micro_batch_size=4",
    "data.prepared_dir=elsewhere",
    "data.processes=1",
]
TRAJECTORY = [
    "seed=2",
    "trainer.steps=999",
    "trainer.batch_size=24",
    "trainer.sequence_length=64",
    "trainer.precision=fp32",
    "optimizer.lr=0.5",
    "optimizer.weight_decay=0",
    "schedule=cosine",
    "objective.mask_probability=0.3",
    "model.dropout=0.3",
    "data.isolate_documents=true",
    "data.validation_fraction=0.1",
]
STRUCTURAL = ["model.width=256", "model.layers=3", "tokenizer.vocab_size=500", "tokenizer.type=unigram"]


@pytest.mark.parametrize("override", FREE)
def test_what_leaves_the_result_leaves_the_hash(override: str) -> None:
    old, new = settings(), settings(override)
    assert run_hash(old) == run_hash(new)
    changes = drift(old.model_dump(mode="json"), new.model_dump(mode="json"))
    assert changes.free
    assert not changes.trajectory
    assert not changes.structural
    assert changes.refusals() == []


@pytest.mark.parametrize("override", TRAJECTORY)
def test_what_changes_the_result_must_be_allowed(override: str) -> None:
    old, new = settings(), settings(override)
    assert run_hash(old) != run_hash(new)
    changes = drift(old.model_dump(mode="json"), new.model_dump(mode="json"))
    assert not changes.free
    assert not changes.structural
    refused = changes.refusals()
    assert len(refused) == len(changes.trajectory) > 0
    key = changes.trajectory[0].key
    assert any(f"resume.allow=[{key}]" in error.remedy for error in refused)
    assert changes.refusals([change.key for change in changes.trajectory]) == []
    assert changes.refusals([key.split(".")[0]]) == []


@pytest.mark.parametrize("override", STRUCTURAL)
def test_what_no_longer_fits_is_refused_whatever_is_allowed(override: str) -> None:
    old, new = settings(), settings(override)
    assert run_hash(old) != run_hash(new)
    changes = drift(old.model_dump(mode="json"), new.model_dump(mode="json"))
    assert len(changes.structural) == 1
    assert len(changes.refusals(["model", "tokenizer", changes.structural[0].key])) == 1


def test_validation_decides_something_where_a_run_may_stop_early() -> None:
    old, new = settings("trainer.patience=3"), settings("trainer.patience=3", "trainer.evaluate_every=5")
    assert run_hash(old) != run_hash(new)
    assert drift(old.model_dump(mode="json"), new.model_dump(mode="json")).trajectory


def test_a_change_is_told_with_both_values() -> None:
    changes = drift(settings().model_dump(mode="json"), settings("optimizer.lr=0.5").model_dump(mode="json"))
    assert str(changes.trajectory[0]) == "optimizer.lr: 0.002 -> 0.5"


def test_what_a_run_wrote_beside_its_settings_is_no_drift() -> None:
    values = settings().model_dump(mode="json")
    assert drift({**values, "resolved": {"precision": "bf16"}}, values).refusals() == []


def test_a_setting_that_came_with_a_later_version_is_no_drift() -> None:
    values = settings().model_dump(mode="json")
    older = {**values, "data": {key: value for key, value in values["data"].items() if key != "languages"}}
    assert drift(older, values).refusals()
    assert drift(completed(older), values).refusals() == []
    assert [change.key for change in drift(completed({**older, "seed": 2}), values).trajectory] == ["seed"]
    unreadable = {**older, "seed": "many"}
    assert completed(unreadable) == unreadable


def test_initial_weights_count_by_what_they_are() -> None:
    here, there = settings("init=here"), settings("init=there")
    assert run_hash(here, {"init": "abc"}) == run_hash(there, {"init": "abc"}) != run_hash(here, {"init": "def"})
    assert run_hash(here, {"init": "abc"}) != run_hash(settings())


def test_a_teacher_counts_by_what_it_is() -> None:
    here, there = (settings("objective=distillation", f"teacher={folder}") for folder in ("here", "there"))
    assert run_hash(here, {"teacher": "abc"}) == run_hash(there, {"teacher": "abc"}) != run_hash(here, {"teacher": "def"})
    assert run_hash(here) != run_hash(there)
    changes = drift(here.model_dump(mode="json"), there.model_dump(mode="json"))
    assert [change.key for change in changes.trajectory] == ["teacher"]


def test_names() -> None:
    assert re.fullmatch(r"roberta-mlm-[0-9a-f]{8}", run_name(settings("model=roberta", "objective=mlm")))
    assert run_name(settings("name=mine")) == "mine"
    assert run_name(settings()) == run_name(settings("data.processes=2"))


def test_the_hash_does_not_depend_on_how_the_settings_were_asked_for() -> None:
    assert run_hash(settings("trainer.steps=2000")) == run_hash(settings())
    assert run_hash(settings("model.layers=2", "seed=1")) == run_hash(settings("seed=1"))


def finetuning(*overrides: str):
    words = ["size=tiny", "data.files=[a.tsv]", *overrides]
    return finetune_settings(compose(words, primary="finetune"))


def test_a_fine_tuning_run_is_called_after_its_task() -> None:
    assert re.fullmatch(r"bert-classification-[0-9a-f]{8}", run_name(finetuning()))
    assert re.fullmatch(r"roberta-sst2-[0-9a-f]{8}", run_name(finetuning("model=roberta", "task=glue/sst2")))


def test_what_a_run_fills_in_is_no_change() -> None:
    """Labels and steps that were left open are found once the examples are read; given ones are another matter."""
    asked = finetuning().model_dump(mode="json")
    kept = {**asked, "task": {**asked["task"], "labels": ["no", "yes"]}, "trainer": {**asked["trainer"], "steps": 57}}
    assert drift(kept, asked) == drift(asked, asked)
    named = finetuning("task.labels=[yes,no]").model_dump(mode="json")
    assert [change.key for change in drift(kept, named).structural] == ["task.labels"]
    counted = finetuning("trainer.steps=58").model_dump(mode="json")
    assert {change.key for change in drift(kept, counted).trajectory} == {"trainer.epochs", "trainer.steps"}


def test_validations_decide_what_fine_tuning_ends_with() -> None:
    assert run_hash(finetuning()) != run_hash(finetuning("trainer.evaluate_every=7"))
    assert run_hash(settings()) == run_hash(settings("trainer.evaluate_every=7"))


@pytest.mark.parametrize("length", ["trainer.epochs", "trainer.hours"])
def test_epochs_and_hours_make_the_number_of_steps_meaningless(length: str) -> None:
    assert len({run_hash(settings(*given)) for given in ((), (f"{length}=2",), (f"{length}=3",))}) == 3
    steps = settings(f"{length}=2")
    other = steps.model_copy(update={"trainer": steps.trainer.model_copy(update={"steps": 77})})
    assert run_hash(steps) == run_hash(other)
    assert drift(steps.model_dump(mode="json"), other.model_dump(mode="json")) == drift({}, {})
    longer = settings(f"{length}=3").model_dump(mode="json")
    assert [change.key for change in drift(other.model_dump(mode="json"), longer).trajectory] == [length]
