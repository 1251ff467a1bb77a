"""ELECTRA as published: its sizes, and what transformers' two classes compute."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.replaced_tokens import TINY, VOCABULARY, keys, learner, program, text
from torch import Tensor, nn
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.nn.heads import MaskedLMHead
from plmtrain.objectives.rtd import ReplacedTokenDetection
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


SHAPES = [  # experiment, discriminator, generator by itself (transformers' ElectraForPreTraining and ElectraForMaskedLM)
    ("electra_small", 13_549_057, 4_620_026),
    ("electra_base", 109_483_009, 33_740_602),
    ("electra_large", 335_142_913, 51_295_290),
]


@pytest.mark.parametrize(("experiment", "discriminator", "generator"), SHAPES)
def test_published_sizes(experiment: str, discriminator: int, generator: int) -> None:
    settings = pretrain_settings(compose([f"experiment={experiment}"]))
    vocabulary = replace(VOCABULARY, size=30522)
    rtd = objectives.build(settings.objective, settings.model, vocabulary)
    assert isinstance(rtd, ReplacedTokenDetection)
    with torch.device("meta"):
        model = rtd.build(lambda shape: backbones.build(shape, 30522))
    parts = {
        name: sum(parameter.numel() for module in modules for parameter in module.parameters())
        for name, modules in model.models().items()
    }
    assert parts == {"discriminator": discriminator, "generator": generator}
    shared = 30522 + 512 + 2 + 2  # rows of the tables, and the norm
    width = settings.model.embedding_width or settings.model.width  # type: ignore[attr-defined]
    assert sum(parameter.numel() for parameter in model.parameters()) == discriminator + generator - shared * width


def test_published_size_of_debertas_third_version() -> None:
    """transformers' DebertaV2Model with the heads of the authors' code; the generator has half the layers (rtd_small.json)."""
    settings = pretrain_settings(compose(["experiment=deberta_v3_small"]))
    rows, width, trunk = 128_100, 768, 141_304_320
    rtd = objectives.build(settings.objective, settings.model, replace(VOCABULARY, size=rows))
    with torch.device("meta"):
        model = rtd.build(lambda shape: backbones.build(shape, rows))
    parts = {
        name: sum(parameter.numel() for module in modules for parameter in module.parameters())
        for name, modules in model.models().items()
    }
    dense = width**2 + width + 2 * width  # with its norm
    generator = trunk - 3 * (12 * width**2 + 13 * width) + dense + rows + 512 * width
    assert parts == {"discriminator": trunk + dense + width + 1, "generator": generator}
    # Each has a table of its own: the discriminator's is added to the generator's.
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(parts.values())


def test_both_models_compute_what_transformers_computes() -> None:
    """Tensors are copied by hand into transformers' classes: logits, both losses, and ragged padding."""
    import transformers

    rtd = program()
    model = learner(rtd, std=0.15).eval()
    batch = rtd.collate(text(6, 5, 30, ragged=True), keys(5))
    assert batch.layout.tokens is not None
    attended = batch.layout.tokens.long()

    for part, theirs in (("discriminator", transformers.ElectraForPreTraining), ("generator", transformers.ElectraForMaskedLM)):
        backbone, head = model.models()[part]
        shape = rtd.generator_settings() if part == "generator" else TINY
        config = transformers.ElectraConfig(
            vocab_size=120,
            embedding_size=24,
            hidden_size=shape.width,
            num_hidden_layers=2,
            num_attention_heads=shape.heads,
            intermediate_size=shape.feed_forward,
            max_position_embeddings=64,
        )
        peer = theirs(config).eval()
        tensors = _in_their_names(backbone, head, f"{part}_predictions")
        if isinstance(head, MaskedLMHead):
            tensors |= {"generator_lm_head.bias": head.bias, "generator_lm_head.weight": backbone.embedding_weight}
        peer.load_state_dict(tensors)
        if part == "generator":
            wanted = torch.full_like(batch.inputs.ids, -100).flatten()
            wanted[batch.targets["positions"]] = batch.targets["labels"]
            there = peer(batch.inputs.ids, attention_mask=attended, labels=wanted.view_as(batch.inputs.ids))
            ours = model.token_scores(batch.inputs)
            real = batch.layout.tokens
            loss = rtd.loss(model, batch, {})[0]["mlm"]
        else:
            drawn = (batch.targets["labels"] * 7) % 120
            written, replaced = rtd.write(batch, drawn)
            there = peer(written, attention_mask=attended, labels=replaced.long())
            ours = model.discriminator_logits(replace(batch.inputs, ids=written))
            real = batch.layout.tokens
            expected = functional.binary_cross_entropy_with_logits(ours[real], replaced[real].float())
            torch.testing.assert_close(there.loss, expected, rtol=1e-4, atol=1e-5)
            loss = None
        torch.testing.assert_close(ours[real], there.logits[real], rtol=1e-4, atol=1e-5)
        if loss is not None:
            torch.testing.assert_close(loss.total / loss.normaliser, there.loss, rtol=1e-4, atol=1e-5)


def _in_their_names(backbone: nn.Module, head: nn.Module, at: str) -> dict[str, Tensor]:
    """A model's tensors as transformers' ELECTRA calls them; query, key and value are one tensor of ours."""
    replacements = {
        "embeddings.token": ["embeddings.word_embeddings"],
        "embeddings.position": ["embeddings.position_embeddings"],
        "embeddings.segment": ["embeddings.token_type_embeddings"],
        "embeddings.norm": ["embeddings.LayerNorm"],
        "embeddings.projection": ["embeddings_project"],
        "attention.query_key_value": [f"attention.self.{name}" for name in ("query", "key", "value")],
        "attention.output": ["attention.output.dense"],
        "attention_norm": ["attention.output.LayerNorm"],
        "feed_forward_in": ["intermediate.dense"],
        "feed_forward_out": ["output.dense"],
        "feed_forward_norm": ["output.LayerNorm"],
    }
    renamed = {}
    for name, tensor in backbone.named_parameters():
        where, _, kind = name.rpartition(".")
        block, within = (where[: len("layers.0.")], where[len("layers.0.") :]) if where.startswith("layers.") else ("", where)
        theirs = replacements[within]
        for their, part in zip(theirs, tensor.chunk(len(theirs)), strict=True):
            renamed[f"electra.{block.replace('layers', 'encoder.layer')}{their}.{kind}"] = part
    for name, tensor in head.named_parameters():
        if name != "bias":
            renamed[f"{at}.{name.replace('norm', 'LayerNorm').replace('score', 'dense_prediction')}"] = tensor
    return renamed
