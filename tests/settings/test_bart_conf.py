"""A size rescales each of BART's two stacks."""

from __future__ import annotations

import pytest

from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.run import PretrainSettings


def settings(*overrides: str) -> PretrainSettings:
    return pretrain_settings(compose(overrides))


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "base", "large"])
@pytest.mark.parametrize("model", ["bart", "bart_large"])
def test_a_size_rescales_both_stacks(model: str, size: str) -> None:
    """As an encoder of that size; base and large, the published shapes, have half its blocks in each stack."""
    made, bert = settings(f"model={model}", "objective=bart", f"size={size}").model, settings("model=bert", f"size={size}").model
    scaled = {"width", "heads", "feed_forward", "dropout", "attention_dropout"}
    assert made.model_dump(include=scaled) == bert.model_dump(include=scaled)
    assert isinstance(made, EncoderDecoderSettings)
    assert isinstance(bert, EncoderSettings)
    assert made.layers == (bert.layers // 2 if size in ("base", "large") else bert.layers)


@pytest.mark.parametrize(("size", "published"), [("base", "bart"), ("large", "bart_large")])
def test_the_published_sizes_are_the_published_models(size: str, published: str) -> None:
    sized, whole = settings("model=bart", "objective=bart", f"size={size}"), settings(f"model={published}", "objective=bart")
    assert sized.model.model_dump(exclude={"name"}) == whole.model.model_dump(exclude={"name"})
