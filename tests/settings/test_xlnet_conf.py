"""A size rescales XLNet, and what cannot be with it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings


def settings(*overrides: str) -> Any:
    return pretrain_settings(compose(["objective=plm", *overrides]))


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "base", "large"])
def test_a_size_rescales_it(size: str) -> None:
    made, bert = settings("model=xlnet", f"size={size}"), pretrain_settings(compose(["model=bert", f"size={size}"]))
    scaled = {"layers", "width", "heads", "feed_forward", "dropout", "attention_dropout"}
    assert made.model.model_dump(include=scaled) == bert.model.model_dump(include=scaled)
    assert made.model.initial_std == bert.model.initial_std
    rest = {*scaled, "initial_std"}  # both published models begin with 0.02
    assert made.model.model_dump(exclude=rest) == settings("model=xlnet").model.model_dump(exclude=rest)
    assert made.optimizer.lr == bert.optimizer.lr


def test_other_pairs_are_refused_at_once() -> None:
    with pytest.raises(SettingsErrors, match="objective=plm needs a backbone of kind two_stream; model=bert is of kind encoder"):
        settings("model=bert")
    with pytest.raises(SettingsErrors, match="objective=dynamic_mlm needs a backbone of kind"):
        pretrain_settings(compose(["model=xlnet"]))


def test_a_width_of_odd_halves_is_refused() -> None:
    with pytest.raises(SettingsErrors, match=r"model\.width"):
        settings("model=xlnet", "model.width=33", "model.heads=3")
