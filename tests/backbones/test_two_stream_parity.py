"""XLNet against transformers' XLNetLMHeadModel: every parameter random, memory, permutations, segments, padding on the left."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones.two_stream import Memory, TwoStream, remember
from plmtrain.batch import Inputs, Layout
from plmtrain.nn.heads import TiedHead
from plmtrain.settings.models.two_stream import TwoStreamSettings

VOCABULARY, LAYERS, WIDTH, HEADS, INNER = 90, 3, 32, 4, 56
BATCH, LENGTH, PREDICTED, REMEMBERED, REUSE = 3, 13, 4, 7, 6


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    config = transformers.XLNetConfig(
        vocab_size=VOCABULARY, d_model=WIDTH, n_layer=LAYERS, n_head=HEADS, d_inner=INNER, mem_len=REMEMBERED, reuse_len=REUSE
    )
    model = transformers.XLNetLMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def from_theirs(states: Mapping[str, Tensor]) -> tuple[TwoStream, TiedHead]:
    """Our model with their weights, by the names that they have there."""
    settings = TwoStreamSettings(name="tiny", layers=LAYERS, width=WIDTH, heads=HEADS, feed_forward=INNER)
    backbone, head = TwoStream(settings, VOCABULARY), TiedHead(VOCABULARY)
    named = {"token.weight": states["transformer.word_embedding.weight"], "mask": states["transformer.mask_emb"]}
    for layer in range(LAYERS):
        old, new = f"transformer.layer.{layer}.", f"layers.{layer}."
        for ours, name in {"query": "q", "key": "k", "value": "v", "distance": "r"}.items():
            named[f"{new}attention.{ours}.weight"] = states[f"{old}rel_attn.{name}"].flatten(1).T
        named[f"{new}attention.output.weight"] = states[f"{old}rel_attn.o"].flatten(1)
        for ours, name in {"content": "r_w_bias", "distance": "r_r_bias", "segment": "r_s_bias"}.items():
            named[f"{new}attention.{ours}_bias"] = states[f"{old}rel_attn.{name}"]
        named[f"{new}attention.segments"] = states[f"{old}rel_attn.seg_embed"]
        for part in ("weight", "bias"):
            named[f"{new}attention_norm.{part}"] = states[f"{old}rel_attn.layer_norm.{part}"]
            named[f"{new}feed_forward_norm.{part}"] = states[f"{old}ff.layer_norm.{part}"]
            named[f"{new}feed_forward_in.{part}"] = states[f"{old}ff.layer_1.{part}"]
            named[f"{new}feed_forward_out.{part}"] = states[f"{old}ff.layer_2.{part}"]
    backbone.load_state_dict(named)
    head.load_state_dict({"bias": states["lm_loss.bias"]})
    return backbone.eval(), head.eval()


def inputs(seed: int = 1) -> dict[str, Tensor]:
    """Rows with segments and some padding on the left; a random order of prediction, the padding out of it."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=draw)
    tokens = torch.arange(LENGTH) >= torch.tensor([[0], [2], [5]])
    segments = (torch.arange(LENGTH) >= torch.tensor([[6], [9], [8]])).long() + (torch.arange(LENGTH) == LENGTH - 1).long()
    places = torch.stack([torch.randperm(LENGTH - 5, generator=draw)[:PREDICTED].sort().values + 5 for _ in range(BATCH)])
    ranks = torch.full((BATCH, LENGTH), -1)
    ranked = torch.stack([torch.randperm(PREDICTED + 1, generator=draw) for _ in range(BATCH)])
    ranks.scatter_(1, places, ranked[:, 1:])
    return {"ids": ids, "tokens": tokens, "segments": segments, "places": places, "ranks": ranks}


def permutation(made: Mapping[str, Tensor]) -> Tensor:
    """transformers' perm_mask by the recipe of the authors' code: 1 where i may not see j."""
    ranks = made["ranks"]
    target = torch.zeros_like(ranks).scatter_(1, made["places"], 1).bool()
    own = torch.where(target, ranks, ranks + 1)
    return ((own[:, :, None] <= ranks[:, None, :]) & target[:, None, :]).float()


def memory(seed: int = 2) -> Tensor:
    return torch.randn(BATCH, LAYERS, REMEMBERED, WIDTH, generator=torch.Generator().manual_seed(seed))


def mapping(places: Tensor) -> Tensor:
    return functional.one_hot(places, LENGTH).float()


@pytest.mark.parametrize("with_memory", [False, True])
@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_both_streams(theirs, with_memory: bool, with_segments: bool, padded: bool) -> None:
    made, (backbone, head) = inputs(), from_theirs(theirs.state_dict())
    before = memory()
    labels = made["ids"].gather(1, made["places"])
    expected = theirs(
        input_ids=made["ids"],
        attention_mask=made["tokens"].float() if padded else None,
        token_type_ids=made["segments"] if with_segments else None,
        perm_mask=permutation(made),
        target_mapping=mapping(made["places"]),
        mems=list(before.permute(1, 2, 0, 3)) if with_memory else None,
        use_mems=True,
        labels=labels,
    )
    documents = torch.where(made["tokens"], 0, -1) if padded else torch.zeros_like(made["ids"])
    remembered = Memory(before, torch.zeros(BATCH, REMEMBERED, dtype=torch.int64)) if with_memory else None
    layout = Layout(tokens=made["tokens"] if padded else None, ranks=made["ranks"])
    ours = Inputs(ids=made["ids"], layout=layout, segments=made["segments"] if with_segments else None)
    hidden, read = backbone.predict(ours, made["places"], remembered)
    logits = head(hidden, backbone.embedding_weight)
    torch.testing.assert_close(logits, expected.logits, rtol=0, atol=1e-4)

    loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(loss, expected.loss, rtol=1e-5, atol=1e-5)
    after = remember(remembered, read, documents, REUSE, REMEMBERED)
    assert after.documents.shape == after.states.shape[:1] + after.states.shape[2:3]
    kept = torch.stack(list(expected.mems)).permute(2, 0, 1, 3)
    assert after.states.shape == kept.shape
    real = (after.documents >= 0)[:, None, :, None]
    torch.testing.assert_close(after.states * real, kept * real, rtol=0, atol=1e-4)

    theirs.zero_grad()
    expected.loss.backward()
    loss.backward()
    gradients, _ = from_theirs(
        {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
        | (
            {}
            if with_segments
            else {
                f"transformer.layer.{layer}.rel_attn.{name}": torch.zeros_like(
                    theirs.state_dict()[f"transformer.layer.{layer}.rel_attn.{name}"]
                )
                for layer in range(LAYERS)
                for name in ("seg_embed", "r_s_bias")
            }
        )
    )
    for (name, parameter), gradient in zip(backbone.named_parameters(), gradients.parameters(), strict=True):
        torch.testing.assert_close(
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad,
            gradient.data,
            rtol=1e-3,
            atol=1e-4,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    torch.testing.assert_close(head.bias.grad, theirs.lm_loss.bias.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("padded", [False, True])
def test_content_stream_alone(theirs, padded: bool) -> None:
    made, (backbone, head) = inputs(3), from_theirs(theirs.state_dict())
    expected = theirs(
        input_ids=made["ids"], attention_mask=made["tokens"].float() if padded else None, token_type_ids=made["segments"]
    )
    layout = Layout(tokens=made["tokens"] if padded else None)
    hidden = backbone.encode(Inputs(ids=made["ids"], layout=layout, segments=made["segments"]))
    real = made["tokens"] if padded else torch.ones_like(made["tokens"])
    torch.testing.assert_close(head(hidden, backbone.embedding_weight)[real], expected.logits[real], rtol=0, atol=1e-4)


def test_layer_by_layer(theirs) -> None:
    made, (backbone, _) = inputs(4), from_theirs(theirs.state_dict())
    expected = theirs(input_ids=made["ids"], token_type_ids=made["segments"], output_hidden_states=True).hidden_states
    states = backbone.encode_layers(Inputs(ids=made["ids"], segments=made["segments"]))
    for ours, reference in zip(states, expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-4)
