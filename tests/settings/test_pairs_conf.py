"""What cannot be with pairs of segments is refused."""

from __future__ import annotations

from typing import Any

import pytest

from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings

TEXT = ("data=text", "data.files=[x]")


def settings(*overrides: str) -> Any:
    return pretrain_settings(compose([*overrides, *TEXT]))


@pytest.mark.parametrize("objective", ["nsp", "sop"])
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model=bart", "needs a backbone of kind encoder"),
        ("data.isolate_documents=true", "data.isolate_documents"),
        ("trainer.sequence_length=5", "has no room for two segments"),
        ("objective.short_share=1.5", "short_share"),
        ("objective.pair_copies=0", "pair_copies"),
    ],
)
def test_what_cannot_be_is_refused(objective: str, override: str, told: str) -> None:
    with pytest.raises(SettingsErrors, match=told):
        settings(f"objective={objective}", override)
