"""DeBERTa's backbone as the trainer needs it, and the enhanced mask decoder, of which transformers has none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.replaced_tokens import DISENTANGLED, program
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones.disentangled import Disentangled
from plmtrain.batch import Inputs, Layout
from plmtrain.interop import hugging_face
from plmtrain.interop.model import Model
from plmtrain.nn.disentangled_attention import rows_of_distances
from plmtrain.nn.heads import MaskDecoderHead, MaskedLMHead
from plmtrain.nn.replaced_tokens import ContextReplacedTokenHead
from plmtrain.settings.models.disentangled import DisentangledSettings

VOCABULARY, LENGTH = 50, 11
SECOND = {"relative_buckets": 4, "normed_distances": True, "shared_projections": True, "key_bias": True, "family": "deberta_v2"}
"""What the second and the third version have in attention."""
Module = TypeVar("Module", bound=nn.Module)


def made(**changes: Any) -> Disentangled:
    """A tiny model, every parameter random."""
    shape = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 24, "positions": 20, "relative_positions": 8, **changes}
    return randomised(Disentangled(DisentangledSettings(name="tiny", **shape), VOCABULARY))


def randomised(module: Module, seed: int = 0) -> Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return module


def decoder_head(backbone: Disentangled) -> MaskDecoderHead:
    """The head of the enhanced mask decoder, every parameter random."""
    positions = backbone.settings.positions
    return randomised(MaskDecoderHead(positions, backbone.width, backbone.embedding_width, VOCABULARY, "gelu", 1e-7), seed=3)


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
    head, tokens = decoder_head(backbone), inputs.layout.tokens
    before = backbone.embedding_norm(backbone.token(inputs.ids))
    before = layer(backbone, 0, before, before, tokens)
    first = layer(backbone, 1, before + head.position.weight[:LENGTH], before, tokens)
    expected = layer(backbone, 1, first, before, tokens)
    torch.testing.assert_close(backbone.predicting(inputs, head)[tokens], expected[tokens], atol=1e-5, rtol=1e-5)
    at = tokens.flatten().nonzero()[::2, 0]
    torch.testing.assert_close(backbone.predicting_at(inputs, head, at), expected.flatten(0, 1)[at], atol=1e-5, rtol=1e-5)
    # Nothing of it is in what fine-tuning and other heads read.
    ordinary = layer(backbone, 1, before, before, tokens)
    other = MaskedLMHead(16, 16, VOCABULARY, "gelu", 1e-7)
    torch.testing.assert_close(backbone.predicting(inputs, other)[tokens], ordinary[tokens], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.encode(inputs)[tokens], ordinary[tokens], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backbone.encode_at(inputs, at), ordinary.flatten(0, 1)[at], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "decoder"),
    [
        *(
            (changes, decoder)
            for changes in (
                {},
                {**SECOND, "convolution": 3},
                {**SECOND, "embedding_width": 12, "shared_projections": False},
            )
            for decoder in (True, False)
        ),
        ({"layers": 1, "convolution": 5, "mask_decoder": False}, False),
    ],
)
def test_every_parameter_gets_a_gradient_and_padding_none(changes: dict[str, Any], decoder: bool) -> None:
    backbone, inputs = made(**changes, dropout=0.0, attention_dropout=0.0).train(), rows()
    head = decoder_head(backbone) if decoder else None
    backbone.token.weight.register_hook(lambda slope: slopes.append(slope))
    slopes: list[Tensor] = []
    inputs.ids[~inputs.layout.tokens] = VOCABULARY - 1
    inputs.ids[inputs.layout.tokens] %= VOCABULARY - 1
    hidden = backbone.encode(inputs) if head is None else backbone.predicting(inputs, head)
    hidden[inputs.layout.tokens].pow(3).sum().backward()
    positions = {} if head is None else {"position": head.position.weight}
    for name, parameter in (dict(backbone.named_parameters()) | positions).items():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    assert not slopes[0][VOCABULARY - 1].any()
    assert backbone.unread_by_encode() == []


def test_a_convolution_that_the_mask_decoder_would_not_read_is_refused() -> None:
    with pytest.raises(ValueError, match="would not read its convolution"):
        made(layers=1, convolution=3)
    rtd = program(DISENTANGLED.model_copy(update={"convolution": 3}), generator_layers=0.5)
    shape = rtd.generator_settings()
    assert isinstance(shape, DisentangledSettings)
    assert (shape.layers, shape.convolution) == (1, None)


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_positions_alone_are_those_of_the_whole_row(layers: int) -> None:
    backbone, inputs = made(**SECOND, layers=layers, convolution=3, mask_decoder=False).eval(), rows()
    at = inputs.layout.tokens.flatten().nonzero()[::2, 0]
    torch.testing.assert_close(backbone.encode_at(inputs, at), backbone.encode(inputs).flatten(0, 1)[at], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("buckets", "most"), [(256, 512), (8, 24), (5, 20), (2, 10), (None, 7), (None, 700)])
def test_buckets_of_distances_are_those_of_the_authors(buckets: int | None, most: int) -> None:
    """Their ``make_log_bucket_position``, with logarithms of Python's, and the clamping of both."""

    def bucket(distance: int) -> int:
        if buckets is None or abs(distance) <= buckets // 2:
            return distance
        middle = buckets // 2
        share = math.log(abs(distance) / middle) / math.log((most - 1) / middle)
        return int(math.copysign(math.ceil(round(share * (middle - 1), 6)) + middle, distance))

    half = buckets or most
    for length in (1, 2, 3, 9, 140, 700):
        span, places = rows_of_distances(length, most, buckets)
        expected = [min(max(bucket(distance) + half, 0), 2 * half - 1) for distance in range(1 - length, length)]
        assert (places[1:-1] + half - span).tolist() == expected
        assert places.min() >= 0
        assert places.max() < 2 * span


@pytest.mark.parametrize("changes", [{}, {**SECOND, "convolution": 5}])
def test_isolated_documents_see_only_themselves(changes: dict[str, Any]) -> None:
    """In attention, and in a convolution across the border between two."""
    backbone, inputs = made(**changes).eval(), rows(ragged=False)
    documents = (torch.arange(LENGTH) >= 5).long().expand_as(inputs.ids)
    packed = backbone.encode(Inputs(ids=inputs.ids, layout=Layout(documents=documents)))
    for part in (slice(0, 5), slice(5, LENGTH)):
        torch.testing.assert_close(packed[:, part], backbone.encode(Inputs(ids=inputs.ids[:, part])), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_convolution_is_torchs() -> None:
    """norm(layer + gelu(convolution(embeddings))), with zeros beyond the ends of a row."""
    backbone, inputs = made(**SECOND, convolution=5, layers=1, mask_decoder=False).eval(), rows(ragged=False)
    embedded = backbone.embedding_norm(backbone.token(inputs.ids))
    alone = made(**SECOND, layers=1).eval()
    alone.load_state_dict({name: tensor for name, tensor in backbone.state_dict().items() if "convolution" not in name})
    convolution = backbone.convolution.convolution
    read = functional.conv1d(embedded.transpose(1, 2), convolution.weight, convolution.bias, padding=2).transpose(1, 2)
    expected = backbone.convolution.norm(alone.encode(inputs) + functional.gelu(read))
    torch.testing.assert_close(backbone.encode(inputs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("version", ["Deberta", "DebertaV2"])
@pytest.mark.parametrize("decoder", [True, False])
def test_the_names_of_the_released_checkpoints(tmp_path: Path, version: str, decoder: bool) -> None:
    """Their head has other names than transformers' usual class. Where the table of positions is beside it, it was trained with
    the mask decoder, whatever the config.json says: theirs say nothing."""
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = getattr(transformers, f"{version}Config")(
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
    theirs = randomised(getattr(transformers, f"{version}ForMaskedLM")(config), seed=2).eval()
    theirs.save_pretrained(tmp_path)
    positions = torch.randn(20, 16, generator=torch.Generator().manual_seed(4))
    if decoder:
        tensors = load_file(tmp_path / "model.safetensors") | {"deberta.embeddings.position_embeddings.weight": positions}
        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    read = hugging_face.read(tmp_path)
    (head,) = read.heads.values()
    assert (read.settings.mask_decoder, type(head)) == (decoder, MaskDecoderHead if decoder else MaskedLMHead)
    inputs = rows(ragged=False)
    with torch.no_grad():
        found = head(read.backbone.predicting(inputs, head), read.backbone.embedding_weight)
        states = theirs.deberta(input_ids=inputs.ids, output_hidden_states=True).hidden_states[-2]
        if decoder:  # the authors' ``emd_context_layer``
            queries, seen = states + positions[:LENGTH], torch.ones(3, 1, LENGTH, LENGTH)
            for _ in range(2):
                if version == "Deberta":  # their layer of the first version fails with other queries than keys
                    queries = layer(read.backbone, 1, queries, states, seen[:, 0, 0].bool())
                else:
                    queries = theirs.deberta.encoder.layer[-1](
                        states,
                        seen,
                        query_states=queries,
                        relative_pos=theirs.deberta.encoder.get_rel_pos(states),
                        rel_embeddings=theirs.deberta.encoder.get_rel_embedding(),
                    )[0]
            expected = theirs.lm_predictions.lm_head(queries, theirs.deberta.embeddings.word_embeddings)
        else:
            expected = theirs(input_ids=inputs.ids).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("version", ["Deberta", "DebertaV2"])
def test_heads_that_transformers_has_no_class_for_stand_beside_its_model(tmp_path: Path, version: str) -> None:
    """Under their authors' names, as in the released checkpoints: transformers reads the model and skips them."""
    backbone = made(**(SECOND | {"convolution": 3} if version == "DebertaV2" else {}))
    replaced = randomised(ContextReplacedTokenHead(16, "gelu", 1e-7), seed=5)
    for head, word in ((decoder_head(backbone), "lm_predictions"), (replaced, "mask_predictions")):
        folder = tmp_path / word
        saved = hugging_face.save(folder, Model.of([backbone, head]), {"pad": 0})
        assert (saved.architecture, saved.left_out, saved.beside) == (f"{version}Model", (), (type(head),))
        again = hugging_face.read(folder)
        for kept, module in ((again.backbone, backbone), (again.heads[type(head)], head)):
            assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in module.state_dict().items())
        theirs, report = getattr(transformers, f"{version}Model").from_pretrained(folder, output_loading_info=True)
        assert not report["missing_keys"]
        assert all(name.startswith(word) for name in report["unexpected_keys"])
        inputs = rows(ragged=False)
        with torch.no_grad():
            states = theirs.eval()(input_ids=inputs.ids).last_hidden_state
            torch.testing.assert_close(states, backbone.eval().encode(inputs), atol=1e-5, rtol=1e-5)
