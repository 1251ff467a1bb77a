"""BART's backbone against transformers' class with every parameter random, its cache, and its parameter counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.bart_twin import VOCABULARY, example, renamed, twins
from torch.nn import functional

from plmtrain.backbones import build
from plmtrain.batch import Inputs, Layout
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings

TINY: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 64, "positions": 40}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ({"layers": 6, "width": 768, "heads": 12, "feed_forward": 3072}, 139_420_416),
        ({"layers": 12, "width": 1024, "heads": 16, "feed_forward": 4096}, 406_291_456),
    ],
)
def test_published_parameter_counts(shape: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        backbone = build(EncoderDecoderSettings(name="counted", **shape), 50265)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters
    assert list(backbone.buffers()) == []


@pytest.mark.parametrize(("layers", "decoder_layers"), [(2, None), (3, 1)])
def test_states_scores_loss_and_gradients_are_those_of_transformers(layers: int, decoder_layers: int | None) -> None:
    """With rows of several lengths in the encoder and in the decoder."""
    theirs, ours = twins(layers, decoder_layers=decoder_layers)
    ids, mask = example()
    labels, written = example(seed=2)
    answer = theirs(
        input_ids=ids,
        attention_mask=mask,
        labels=labels.masked_fill(written == 0, -100),
        output_hidden_states=True,
    )
    answer.loss.backward()

    layout = Layout(tokens=mask.bool())
    states = ours.encode_layers(Inputs(ids=ids, layout=layout))
    for state, expected in zip(states, answer.encoder_hidden_states, strict=True):
        torch.testing.assert_close(state[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-4)
    shifted = functional.pad(labels[:, :-1], (1, 0), value=2)
    inputs = Inputs(ids=ids, layout=layout, decoder=Inputs(ids=shifted, layout=Layout(causal=True)))
    hidden = ours.decode(inputs, states[-1])
    torch.testing.assert_close(ours.hidden(inputs), hidden)
    real = written.bool()
    torch.testing.assert_close(hidden[real], answer.decoder_hidden_states[-1][real], atol=1e-5, rtol=1e-4)
    scores = functional.linear(hidden, ours.embedding_weight)
    torch.testing.assert_close(scores[real], answer.logits[real], atol=2e-5, rtol=1e-4)
    total, _ = tied_cross_entropy(hidden[real], ours.embedding_weight, labels[real])
    loss = total / real.sum()
    assert loss.item() == pytest.approx(answer.loss.item(), rel=1e-5)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    expected_gradients = renamed({name: gradient for name, gradient in gradients.items() if gradient is not None}, ours)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected_gradients[name], atol=2e-5, rtol=1e-3, msg=name)


def made(**changes: Any) -> Any:
    torch.manual_seed(0)
    return build(EncoderDecoderSettings(name="tiny", **(TINY | changes)), VOCABULARY)


def beside(written: torch.Tensor, memory: Layout, documents: torch.Tensor | None = None) -> Inputs:
    """Return the inputs of a decoder that reads some tokens from the left, beside an encoder of some layout."""
    decoder = Inputs(ids=written, layout=Layout(causal=True, documents=documents))
    return Inputs(ids=torch.empty(0), layout=memory, decoder=decoder)  # the encoder's tokens are in the memory


def test_a_cache_changes_nothing() -> None:
    backbone, (ids, mask) = made().eval(), example()
    layout = Layout(tokens=mask.bool())
    memory = backbone.encode(Inputs(ids=ids, layout=layout))
    written = example(seed=3)[0]
    whole = backbone.decode(beside(written, layout), memory)
    cache = backbone.new_cache(20, memory.shape[1])
    parts = [backbone.decode(beside(written[:, :4], layout), memory, cache)]
    parts += [backbone.decode(beside(written[:, place : place + 1], layout), memory, cache) for place in range(4, 17)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_the_decoder_sees_nothing_to_come_and_no_padding() -> None:
    """The gradient of what is written with respect to what may not be seen is exactly zero."""
    backbone, (ids, mask) = made().eval(), example()
    layout = Layout(tokens=mask.bool())
    memory = backbone.encode(Inputs(ids=ids, layout=layout)).detach().requires_grad_()
    written = example(seed=3)[0]
    embedded: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = backbone.decoder.embeddings.register_forward_hook(keep)
    hidden = backbone.decode(beside(written, layout), memory)
    handle.remove()
    to_words, to_memory = torch.autograd.grad(hidden[:, 6, 0].sum(), (embedded[0], memory))
    assert not to_words[:, 7:].any()
    assert to_words[:, :7].abs().sum(-1).all()
    assert not to_memory[mask == 0].any()
    assert to_memory[mask == 1].abs().sum(-1).all()


def test_isolated_documents_see_only_themselves() -> None:
    backbone = made().eval()
    ids, written = example(rows=1)[0], example(rows=1, seed=2)[0]
    read, said = (torch.arange(17) >= 8).long()[None], (torch.arange(17) >= 5).long()[None]
    layout = Layout(documents=read)
    memory = backbone.encode(Inputs(ids=ids, layout=layout)).detach().requires_grad_()
    hidden = backbone.decode(beside(written, layout, documents=said), memory)
    (gradient,) = torch.autograd.grad(hidden[:, 7, 0].sum(), memory)
    assert not gradient[:, :8].any()
    assert gradient[:, 8:].abs().sum(-1).all()


def test_every_parameter_gets_a_gradient_and_each_block_is_listed_once() -> None:
    backbone, (ids, mask) = made().train(), example()
    layout = Layout(tokens=mask.bool())
    hidden = backbone.decode(beside(ids, layout), backbone.encode(Inputs(ids=ids, layout=layout)))
    tied_cross_entropy(hidden.flatten(0, 1), backbone.embedding_weight, ids.flatten())[0].backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert len(backbone.blocks()) == len(set(backbone.blocks())) == 4


@pytest.mark.slow
def test_compiled_blocks_compute_the_same_whatever_lengths_came_before() -> None:
    """Encoder rows are of another length in each batch: one kernel serves all, or a resumed run would not be the same."""
    written = example()[0]

    def losses(lengths: tuple[int, ...], compiled: bool, **changes: float) -> list[torch.Tensor]:
        torch.compiler.reset()
        backbone = made(**changes).train()
        for block in backbone.blocks() if compiled else ():
            block.compile(dynamic=True)
        computed = []
        for length in lengths:
            ids = example(length=length, rows=3)[0]
            layout = Layout(tokens=ids != 1)
            torch.manual_seed(length)
            hidden = backbone.decode(beside(written[:3], layout), backbone.encode(Inputs(ids=ids, layout=layout)))
            backbone.zero_grad()
            hidden.square().sum().backward()
            gradients = [parameter.grad.flatten() for parameter in backbone.parameters() if parameter.grad is not None]
            computed.append(torch.cat([hidden.detach().flatten(), *gradients]))
        return computed

    steady = {"dropout": 0.0, "attention_dropout": 0.0}
    for one, other in zip(losses((20, 23), True, **steady), losses((20, 23), False, **steady), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert torch.equal(losses((20, 23, 26), True)[2], losses((26,), True)[0])
