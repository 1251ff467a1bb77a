"""The names of other tools: each is answered by the setting that means the same, or by the reason why there is none."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.kinds import KINDS, keys_of
from plmtrain.settings.other_tools import elsewhere, table
from plmtrain.settings.wording import nearest_key

OURS = {
    key
    for kind in KINDS
    for key in (
        *keys_of(kind.settings),
        *(key for group, (_, known) in kind.variants.items() for one in known().values() for key in keys_of(one, f"{group}.")),
    )
}
"""Every full key of every kind of run."""

NAMES = {key.rpartition(".")[2] for key in OURS}

_CONFIGS = ("Bert", "Roberta", "Albert", "Electra", "DistilBert", "XLM", "XLNet", "Bart", "GPT2", "OpenAIGPT", "DebertaV2", "T5")


def wrong(*overrides: str) -> list[str]:
    """The remedies of a run that is refused."""
    with pytest.raises(SettingsErrors) as told:
        pretrain_settings(compose(overrides))
    return [error.remedy for error in told.value.errors]


def test_every_name_of_transformers_has_a_row_or_is_ours() -> None:
    import transformers as theirs

    arguments = (
        theirs.Seq2SeqTrainingArguments,
        theirs.DataCollatorForLanguageModeling,
        theirs.DataCollatorForPermutationLanguageModeling,
    )
    names = {field.name for each in arguments for field in dataclasses.fields(each)} - {"tokenizer"}
    for config in (getattr(theirs, f"{name}Config")() for name in _CONFIGS):
        names |= {*config.to_dict(), *config.attribute_map}
    assert len(names) > 250
    assert {name for name in names - NAMES if elsewhere(name) is None} == set()


def test_the_table_names_settings_that_exist_and_none_of_ours_as_theirs() -> None:
    theirs = [name for row in table() for name in row.theirs]
    assert [name for name, times in Counter(theirs).items() if times > 1] == []
    assert {key for row in table() for key in row.ours} <= OURS
    assert set(theirs) & (NAMES | OURS) == set()
    assert all(row.ours or row.note for row in table())


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("objective.mask_rate=0.3", "that is objective.mask_probability here (the share of tokens that are predicted)"),
        ("mlm_probability=0.3", "that is objective.mask_probability here (the share of tokens that are predicted)"),
        ("model.num_hidden_layers=3", "that is model.layers here"),
        ("trainer.learning_rate=1", "that is optimizer.lr here (the peak)"),
        ("warmup_ratio=0.1", "that is schedule.warmup here (steps, or below 1 a share of all steps)"),
        ("data.streaming=true", "there is none: text is prepared once and then read through a memory map, whatever its size"),
        ("trainer.fp16=true", "that is trainer.precision here (auto, fp32, bf16 or fp16)"),
        (
            "trainer.phases=[{share: 1.0, objective: {mask_rate: 0.3}}]",
            "that is trainer.phases.0.objective.mask_probability here (the share of tokens that are predicted)",
        ),
    ],
)
def test_a_name_of_another_tool_leads_to_what_means_the_same(override: str, remedy: str) -> None:
    assert wrong(override) == [remedy]


def test_a_setting_that_this_run_has_not_is_not_promised() -> None:
    (remedy,) = wrong("model=xlnet", "objective=plm", "objective.mask_rate=0.3")
    assert remedy == "that is objective.mask_probability here, which this run does not have"
    (remedy,) = wrong("objective=mixture", "objective.shares={mlm: 1, rtd: 1}", "objective.parts.rtd.mask_rate=0.3")
    assert remedy.startswith("that is objective.parts.rtd.mask_probability here")


@pytest.mark.parametrize("option", ["--warmup-updates", "--learning_rate=5e-5"])
def test_an_option_of_another_tool_leads_to_the_setting(option: str) -> None:
    with pytest.raises(SettingsErrors, match=r"that is (schedule\.warmup|optimizer\.lr) here"):
        parse_arguments([option])


@pytest.mark.parametrize("key", ["optimizer.mode", "schedule.path", "trainer.deepest", "model.format"])
def test_what_is_only_spelled_alike_is_not_suggested(key: str) -> None:
    assert "did you mean" not in nearest_key(key, sorted(OURS))


@pytest.mark.parametrize(
    "choice", ["model=deberta-base", "model=mbart", "objective=diffusion", "optimizer=adam", "optimizer.type=adam"]
)
def test_another_published_system_is_not_a_slip_of_the_finger(choice: str) -> None:
    (remedy,) = wrong(choice)
    assert remedy.startswith("use one of: ")


def test_slips_of_the_finger_are_seen() -> None:
    keys = sorted(OURS)
    assert nearest_key("trainr.bach_size", keys) == "did you mean 'trainer.batch_size'?"
    assert nearest_key("optimiser.lr", keys) == "did you mean 'optimizer.lr'?"
