"""The settings of a stream: what is refused, and with which way out."""

from __future__ import annotations

import pytest

from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.identity import kind_of

DEFAULTS = ("model=bert", "objective=mlm", "data=stream", "data.files=[a.jsonl]")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["trainer.epochs=2"], "trainer.epochs=2 needs the number of all rows.*trainer.steps="),
        (
            ["trainer=length_warmup", "trainer.hours=1"],
            "rows of 8 and 16 and 32 and 64 tokens in a stream.*trainer.steps instead of trainer.hours",
        ),
        (
            [
                "model=t5_small",
                "objective=span_corruption",
                "trainer.hours=1",
                "trainer.phases=[{share: 0.5, objective: {mean_span_length: 8}}, {share: 0.5}]",
            ],
            "another objective may have rows of another shape.*trainer.steps instead of trainer.hours",
        ),
        (["objective=mixture", "objective.shares={mlm: 1, rtd: 1}"], "mixes objectives whose rows have different lengths"),
        (["objective=nsp"], "objective=nsp reads pairs of segments.*prepare the whole text"),
        (["model=xlnet", "objective=plm"], "objective=plm carries a memory along the whole text"),
        (["model=elmo", "objective=bilm"], "objective=bilm carries a state along the whole text"),
        (["data.deduplicate=true"], "deduplicate compares all documents.*omit it"),
        (["data.cache_gb=0"], "data.cache_gb must be above 0"),
        (["data=jsonl", "data.cache_gb=5"], "cache_gb is for files that are prepared while they are read.*data=stream"),
        (["data.files=[]"], "files is missing"),
    ],
)
def test_what_is_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(SettingsErrors, match=f"(?s){told}"):
        pretrain_settings(compose([*(default for default in DEFAULTS if _key(default) not in map(_key, overrides)), *overrides]))


def _key(override: str) -> str:
    return override.partition("=")[0]


def test_another_cache_is_the_same_run() -> None:
    assert kind_of("data.cache_gb") == "free"
