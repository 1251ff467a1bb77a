"""T5's backbone against transformers' class with every parameter random, its buckets, its cache, and its initial weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.bart_twin import example
from support.t5_twin import VERSIONS, twins
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones.relative_encoder_decoder import RelativeEncoderDecoder
from plmtrain.batch import Inputs, Layout, shift_right
from plmtrain.interop import hugging_face
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.nn.relative_bias import RelativeBias, buckets_of
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings

LENGTH = 40


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def rows(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Ids of several lengths, the longest of many buckets, and their mask."""
    return example(length=LENGTH, seed=seed)


@pytest.mark.parametrize("version", VERSIONS)
def test_states_scores_loss_and_gradients_are_those_of_transformers(version: str, tmp_path: Path) -> None:
    """With rows of several lengths in the encoder and in the decoder."""
    theirs, read = twins(tmp_path, version)
    ours: Any = read.backbone
    (ids, mask), (labels, written) = rows(), rows(seed=2)
    answer = theirs(input_ids=ids, attention_mask=mask, labels=labels.masked_fill(written == 0, -100), output_hidden_states=True)
    answer.loss.backward()
    layout = Layout(tokens=mask.bool())
    states = ours.encode_layers(Inputs(ids=ids, layout=layout))
    for state, expected in zip(states, answer.encoder_hidden_states, strict=True):
        torch.testing.assert_close(state[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-4)
    hidden = ours.hidden(Inputs(ids=ids, layout=layout, decoder=Inputs(ids=shift_right(labels, 2), layout=Layout(causal=True))))
    real = written.bool()
    unscaled = hidden * (32**0.5 if version == "1.0" else 1.0)
    torch.testing.assert_close(unscaled[real], answer.decoder_hidden_states[-1][real], atol=1e-5, rtol=1e-4)
    scores = functional.linear(hidden, ours.output_weight)
    torch.testing.assert_close(scores[real], answer.logits[real], atol=1e-5, rtol=1e-4)
    total, _ = tied_cross_entropy(hidden[real], ours.output_weight, labels[real])
    torch.testing.assert_close(total / real.sum(), answer.loss, rtol=1e-5, atol=0)
    (total / real.sum()).backward()
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, source in read.family.backbone(read.settings).items():
        gradient = torch.cat([expected.pop(other) for other in source.names])
        torch.testing.assert_close(ours.get_parameter(name).grad, gradient, atol=1e-6, rtol=1e-4, msg=name)
    assert not expected


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_written_is_what_transformers_reads(version: str, tmp_path: Path) -> None:
    theirs, read = twins(tmp_path / "theirs", version)
    hugging_face.save(tmp_path / "ours", read, {"pad": 1, "eos": 2, "unk": 3})
    before, after = (load_file(tmp_path / place / "model.safetensors") for place in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    again = type(theirs).from_pretrained(tmp_path / "ours", attn_implementation="eager").eval()
    assert again.config.decoder_start_token_id == 1  # padding, as in the authors' code
    (ids, mask), (decoder_ids, _) = rows(), rows(seed=2)
    given = {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": decoder_ids}
    with torch.no_grad():
        torch.testing.assert_close(again(**given).logits, theirs(**given).logits)


def test_an_output_layer_that_is_absent_from_a_file_is_the_token_table(tmp_path: Path) -> None:
    """transformers 5 saves a 1.1 that it has tied without the output layer, and still does not scale it."""
    import transformers

    config = transformers.T5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, tie_word_embeddings=False)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    backbone = hugging_face.read(tmp_path).backbone
    assert not backbone.settings.tied_output
    assert torch.equal(backbone.output_weight, backbone.embedding_weight)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets(bidirectional: bool) -> None:
    """By the definition in the authors' code, distance by distance, at the published numbers of buckets."""

    def bucket(distance: int) -> int:
        count, offset = 32, 0
        if bidirectional:
            count, offset = 16, 16 if distance > 0 else 0
        apart = abs(distance) if bidirectional else max(0, -distance)
        half = count // 2
        if apart < half:
            return offset + apart
        return offset + min(count - 1, half + int(math.log(apart / half) / math.log(128 / half) * (count - half)))

    distances = torch.arange(-600, 601)
    made = buckets_of(distances, 32, 128, bidirectional=bidirectional)
    assert made.tolist() == [bucket(distance) for distance in distances.tolist()]
    assert set(made.tolist()) == set(range(32)) - ({16} if bidirectional else set())  # no key to the right has distance 0
    known = {-1: 1, 1: 17, 8: 24, 20: 26, 64: 30, 200: 31} if bidirectional else {-16: 16, -20: 17, -64: 26, -113: 31, 5: 0}
    assert {distance: int(made[distance + 600]) for distance in known} == known


def test_the_bias_of_a_query_and_a_key_is_that_of_their_distance() -> None:
    bias = RelativeBias(3, 8, 16, bidirectional=True)
    torch.nn.init.normal_(bias.weight)
    whole = bias(7, 7)[0]
    for query in range(7):
        for key in range(7):
            row = buckets_of(torch.tensor([key - query]), 8, 16, bidirectional=True)
            assert torch.equal(whole[:, query, key], bias.weight[row[0]])
    assert torch.equal(bias(1, 7)[0, :, 0], whole[:, 6])
    assert torch.equal(bias(3, 7)[0], whole[:, 4:])


def test_tokens_one_by_one_are_as_all_at_once(tmp_path: Path) -> None:
    _, read = twins(tmp_path)
    ours: Any = read.backbone
    (ids, mask), (written, _) = rows(), rows(seed=2)
    inputs = Inputs(ids=ids, layout=Layout(tokens=mask.bool()), decoder=Inputs(ids=written, layout=Layout(causal=True)))
    with torch.no_grad():
        memory = ours.encode(inputs)
        whole, cache = ours.decode(inputs, memory), ours.new_cache(LENGTH, LENGTH)
        for place in range(LENGTH):
            step = Inputs(
                ids=ids, layout=inputs.layout, decoder=Inputs(ids=written[:, place : place + 1], layout=Layout(causal=True))
            )
            hidden = ours.decode(step, memory, cache)
            torch.testing.assert_close(hidden[:, 0], whole[:, place], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_initial_weights(tied: bool) -> None:
    """The standard deviations of the authors' code, which keep the scores of attention and of the vocabulary near one."""
    settings = RelativeEncoderDecoderSettings(
        name="wide", layers=1, width=128, heads=8, head_width=32, feed_forward=192, tied_output=tied, gated=not tied
    )
    torch.manual_seed(0)
    backbone = RelativeEncoderDecoder(settings, 200)
    inner = 8 * 32
    stds = {"token": 1.0, "output": 128**-0.5}
    for name, parameter in backbone.named_parameters():
        kind = name.split(".")[-2]
        if "norm" in kind:
            assert torch.equal(parameter, torch.ones_like(parameter))
            continue
        parts: list[tuple[Tensor, float]] = [(parameter, stds.get(kind, 128**-0.5))]
        if kind == "query_key_value":
            parts = [(parameter[:inner], (128 * 32) ** -0.5), (parameter[inner:], 128**-0.5)]
        elif kind == "query":
            parts = [(parameter, (128 * 32) ** -0.5)]
        elif kind == "output" and "attention" in name:
            parts = [(parameter, inner**-0.5)]
        elif kind == "feed_forward_out":
            parts = [(parameter, 192**-0.5)]
        for part, std in parts:
            assert part.std().item() == pytest.approx(std, rel=5 / math.sqrt(part.numel())), name


def test_nothing_to_the_right_is_seen_and_nothing_behind_padding(tmp_path: Path) -> None:
    _, read = twins(tmp_path)
    ours: Any = read.backbone
    (ids, mask), (written, _) = rows(), rows(seed=2)
    table = ours.token.weight.detach()
    read_states, own_states = table[ids].requires_grad_(), table[written].requires_grad_()
    ours.token.forward = lambda asked: read_states if asked is ids else own_states
    inputs = Inputs(ids=ids, layout=Layout(tokens=mask.bool()), decoder=Inputs(ids=written, layout=Layout(causal=True)))
    ours.hidden(inputs)[:, 11].sum().backward()
    assert own_states.grad[:, 12:].abs().max() == 0 < own_states.grad[:, :12].abs().amax(dim=(0, 2)).min()
    seen = read_states.grad.abs().amax(dim=2)
    assert seen[~mask.bool()].max() == 0 < seen[mask.bool()].min()
