"""The files of some choices are merged as Hydra itself merges them."""

from __future__ import annotations

import pytest
from hydra import compose as hydra_compose
from omegaconf import OmegaConf

from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices, groups_of
from plmtrain.settings.composing.merging import hydra_at_work, merge_files
from plmtrain.settings.kinds import COMPOSITIONS

SOME = [
    ("pretrain", ()),
    ("pretrain", ("size=tiny", "data=parallel", "objective=tlm", "model=xlm")),
    ("pretrain", ("experiment=roberta", "optimizer=lamb", "size=mini")),
    ("pretrain", ("experiment=mbart",)),
    ("finetune", ("task=question_answering", "model=t5_small")),
    ("evaluate", ()),
]
EVERY = [
    pytest.param(kind.primary, (f"{group}={choice}",), marks=pytest.mark.slow)
    for kind in COMPOSITIONS
    for group in groups_of(kind.primary)
    for choice in choices(group)
]


@pytest.mark.parametrize(("primary", "chosen"), [*SOME, *EVERY], ids=str)
def test_what_is_merged_is_what_hydra_composes(primary: str, chosen: tuple[str, ...]) -> None:
    with hydra_at_work():
        expected = hydra_compose(primary, list(chosen))
    merged = merge_files(None, chosen, primary)
    assert OmegaConf.to_container(merged) == OmegaConf.to_container(expected)
    assert str(merged) == str(expected)  # the order of the keys, and 1 is not 1.0


def test_what_is_merged_belongs_to_who_asked() -> None:
    first = merge_files(None, ("model=bert",), "pretrain")
    OmegaConf.update(first, "model.layers", 99)
    OmegaConf.update(first, "model.suggests.tokenizer.type", "none")
    second = merge_files(None, ("model=bert",), "pretrain")
    assert second.model.layers != 99
    assert second.model.suggests.tokenizer.type != "none"


def test_no_choice_of_an_optional_group_is_its_default() -> None:
    assert compose(["size=null", "experiment=null"]).values == compose([]).values
    assert not compose(["size=null"]).errors
