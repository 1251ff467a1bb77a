"""DeBERTa's backbone as the trainer needs it, and the enhanced mask decoder, of which transformers has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones.disentangled import Disentangled
from plmtrain.batch import Inputs, Layout
from plmtrain.interop import hugging_face
from plmtrain.interop.model import Model
from plmtrain.nn.heads import MaskedLMHead
from plmtrain.settings.models.disentangled import DisentangledSettings

VOCABULARY, LENGTH = 50, 11


def made(**changes: Any) -> Disentangled:
    """A tiny model, every parameter random."""
    shape = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 24, "positions": 20, "relative_positions": 8, **changes}
    backbone = Disentangled(DisentangledSettings(name="tiny", **shape), VOCABULARY)
    generator = torch.Generator().manual_seed(0)
    for parameter in backbone.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return backbone


def rows(ragged: bool = True) -> Inputs:
    tokens = torch.arange(LENGTH) < torch.tensor([LENGTH, 6, 1])[:, None]
    ids = torch.randint(0, VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    return Inputs(ids=ids, layout=Layout(tokens=tokens if ragged else None))


def layer(backbone: Disentangled, number: int, queries: Tensor, hidden: Tensor, tokens: Tensor) -> Tensor:
    """One layer as equations 2 to 4 of the paper have it, pair by pair of positions, with the index of the authors' code."""
    block, settings = backbone.layers[number], backbone.settings
    attention, half = block.attention, settings.relative_positions
    heads, size = settings.heads, settings.width // settings.heads
    wq, wk, wv = attention.query_key_value.weight.chunk(3)
    q, k, v = (
        (states @ weight.T + bias).unflatten(-1, (heads, size))
        for states, weight, bias in (
            (queries, wq, attention.query_bias),
            (hidden, wk, 0),
            (hidden, wv, attention.value_bias),
        )
    )
    kr = attention.position_key(backbone.relative.weight).unflatten(-1, (heads, size))
    qr = attention.position_query(backbone.relative.weight).unflatten(-1, (heads, size))
    mixed = torch.zeros_like(hidden)
    for row in range(len(hidden)):
        for head in range(heads):
            for i in range(LENGTH):
                seen = tokens[row].nonzero().flatten().tolist()
                scores = []
                for j in seen:
                    d = min(max(i - j + half, 0), 2 * half - 1)
                    query, key = q[row, i, head], k[row, j, head]
                    scores.append(query @ key + query @ kr[d, head] + qr[d, head] @ key)
                weights = (torch.stack(scores) / (3 * size) ** 0.5).softmax(0)
                mixed[row, i, head * size : (head + 1) * size] = weights @ v[row, seen, head]
    hidden = block.attention_norm(queries + attention.output(mixed))
    return block.feed_forward_norm(hidden + block.feed_forward_out(functional.gelu(block.feed_forward_in(hidden))))


@torch.no_grad()
def test_the_mask_decoder_is_the_last_layer_twice_from_absolute_positions() -> None:
    """He et al. 2020, section 3.2: both times over the states before the last layer; the residual is the query's."""
    backbone, inputs = made().eval(), rows()
    tokens = inputs.layout.tokens
    before = backbone.embedding_norm(backbone.token(inputs.ids))
    before = layer(backbone, 0, before, before, tokens)
    first = layer(backbone, 1, before + backbone.position.weight[:LENGTH], before, tokens)
    expected = layer(backbone, 1, first, before, tokens)
    torch.testing.assert_close(backbone.predicting(inputs)[tokens], expected[tokens], atol=1e-5, rtol=1e-5)
    at = tokens.flatten().nonzero()[::2, 0]
    torch.testing.assert_close(backbone.predicting_at(inputs, at), expected.flatten(0, 1)[at], atol=1e-5, rtol=1e-5)
    # Nothing of it is in what fine-tuning reads.
    ordinary = layer(backbone, 1, before, before, tokens)
    torch.testing.assert_close(backbone.encode(inputs)[tokens], ordinary[tokens], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.encode_at(inputs, at), ordinary.flatten(0, 1)[at], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("decoder", [True, False])
def test_every_parameter_gets_a_gradient_and_padding_none(decoder: bool) -> None:
    backbone, inputs = made(mask_decoder=decoder, dropout=0.0, attention_dropout=0.0).train(), rows()
    backbone.token.weight.register_hook(lambda slope: slopes.append(slope))
    slopes: list[Tensor] = []
    inputs.ids[~inputs.layout.tokens] = VOCABULARY - 1
    inputs.ids[inputs.layout.tokens] %= VOCABULARY - 1
    backbone.predicting(inputs)[inputs.layout.tokens].pow(3).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    assert not slopes[0][VOCABULARY - 1].any()
    assert (len(backbone.unread_by_encode()), backbone.position is None) == (int(decoder), not decoder)


def test_isolated_documents_see_only_themselves() -> None:
    backbone, inputs = made(mask_decoder=False).eval(), rows(ragged=False)
    documents = (torch.arange(LENGTH) >= 5).long().expand_as(inputs.ids)
    packed = backbone.encode(Inputs(ids=inputs.ids, layout=Layout(documents=documents)))
    for part in (slice(0, 5), slice(5, LENGTH)):
        torch.testing.assert_close(packed[:, part], backbone.encode(Inputs(ids=inputs.ids[:, part])), atol=1e-5, rtol=1e-5)


def test_the_names_of_the_released_checkpoints(tmp_path: Path) -> None:
    """Their head has other names than transformers' class, and they have the decoder's positions, which that class skips."""
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.DebertaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=20,
        type_vocab_size=0,
        relative_attention=True,
        pos_att_type="c2p|p2c",
        position_biased_input=False,
        layer_norm_eps=1e-7,
        legacy=False,
        **shape,
    )
    theirs = transformers.DebertaForMaskedLM(config).eval()
    generator = torch.Generator().manual_seed(2)
    for parameter in theirs.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["deberta.embeddings.position_embeddings.weight"] = torch.randn(20, 16, generator=generator)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    read = hugging_face.read(tmp_path)
    inputs = rows(ragged=False)
    with torch.no_grad():
        expected = theirs(input_ids=inputs.ids).logits
        scores = read.heads[MaskedLMHead](read.backbone.predicting(inputs), read.backbone.embedding_weight)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


def test_a_head_of_the_mask_decoder_is_not_written_for_transformers(tmp_path: Path) -> None:
    """Their class would predict from the encoder's states; its trunk reads the folder and skips the table of positions."""
    backbone = made()
    saved = hugging_face.save(tmp_path, Model.of([backbone, MaskedLMHead(16, 16, VOCABULARY, "gelu", 1e-7)]), {"pad": 0})
    assert (saved.architecture, saved.left_out) == ("DebertaModel", (MaskedLMHead,))
    again = hugging_face.read(tmp_path).backbone
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in backbone.state_dict().items())
    theirs, report = transformers.DebertaModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    inputs = rows(ragged=False)
    with torch.no_grad():
        torch.testing.assert_close(
            theirs.eval()(input_ids=inputs.ids).last_hidden_state, backbone.eval().encode(inputs), atol=1e-5, rtol=1e-5
        )
