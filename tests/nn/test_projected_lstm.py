"""The parts of ELMo: a recurrence with clips against recorded steps, the mix of layers, and the words of sampled softmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.keyed_random import Keys, row_bits
from plmtrain.nn.projected_lstm import ProjectedLSTM
from plmtrain.nn.scalar_mix import ScalarMix
from plmtrain.nn.word_softmax import log_expected, log_uniform_sample


def recorded(layer: ProjectedLSTM, hidden: Tensor, output: Tensor, cells: Tensor) -> Tensor:
    outputs = []
    for step in hidden:
        gates = functional.linear(torch.cat([step, output], dim=1), layer.weight, layer.bias)
        i, j, f, o = gates.chunk(4, dim=1)
        cells = (torch.sigmoid(f + 1) * cells + torch.sigmoid(i) * torch.tanh(j)).clamp(-layer.cell_clip, layer.cell_clip)
        output = functional.linear(torch.sigmoid(o) * torch.tanh(cells), layer.projection_weight)
        output = output.clamp(-layer.projection_clip, layer.projection_clip)
        outputs.append(output)
    return torch.stack(outputs)


@pytest.mark.parametrize("clips", [(0.5, 0.2), (None, None)])
def test_outputs_and_gradients_are_those_of_recorded_steps(clips: tuple[float | None, float | None]) -> None:
    torch.manual_seed(0)
    layer = ProjectedLSTM(5, 7, 3, *clips)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    hidden = torch.randn(6, 4, 5, requires_grad=True)
    output, cells, outer = torch.randn(4, 3) * 0.1, torch.randn(4, 7) * 0.3, torch.randn(6, 4, 3)
    slopes = []
    for compute in (lambda *given: layer(*given)[0], lambda *given: recorded(layer, *given)):
        made = compute(hidden, output, cells)
        slopes.append([made.detach(), *torch.autograd.grad((made * outer).sum(), [hidden, *layer.parameters()])])
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    if clips[0]:
        states = layer(hidden, output, cells)[1]
        reached = [(states.cells.abs() == clips[0]).float().mean(), (states.outputs.abs() == clips[1]).float().mean()]
        assert 0.2 < min(reached) <= max(reached) < 0.9


def test_a_mix_is_that_of_the_papers_equation() -> None:
    torch.manual_seed(0)
    states = [torch.randn(2, 3, 4) for _ in range(3)]
    plain, normed = ScalarMix(range(3)), ScalarMix(range(3), normed=True)
    torch.testing.assert_close(plain(states), torch.stack(states).mean(0))
    with torch.no_grad():
        for mix in (plain, normed):
            mix.weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
            mix.gamma.fill_(1.7)
    shares = np.exp([0.3, -1.0, 2.0]) / np.exp([0.3, -1.0, 2.0]).sum()
    torch.testing.assert_close(plain(states), 1.7 * sum(float(s) * each for s, each in zip(shares, states, strict=True)))
    centred = [each - each.mean(-1, keepdim=True) for each in states]
    scaled = [each / (each.square().mean(-1, keepdim=True) + 1e-5).sqrt() for each in centred]
    torch.testing.assert_close(normed(states), 1.7 * sum(float(s) * each for s, each in zip(shares, scaled, strict=True)))
    torch.testing.assert_close(plain.penalty(), torch.tensor(0.09 + 1 + 4))
    torch.testing.assert_close(ScalarMix([2, 0])(states), (states[0] + states[2]) / 2)
    assert torch.equal(ScalarMix([1])(states), states[1])


def test_sampled_words_are_log_uniform_and_counted_as_expected() -> None:
    """How often a word is in a sample, against the formula that its score is lowered by."""
    words, count, rounds = 50, 12, 3000
    present, expected = np.zeros(words), np.zeros(words)
    for sample in range(rounds):
        ids, draws = log_uniform_sample(row_bits("test", Keys(0, np.zeros(1, np.int64), np.array([sample]))), words, count)
        assert len(set(ids.tolist())) == count <= draws
        present[ids] += 1
        expected += np.exp(log_expected(np.arange(words), words, draws))
    np.testing.assert_allclose(present / rounds, expected / rounds, atol=0.04)
    single = np.exp(log_expected(np.arange(words), words, 1))
    np.testing.assert_allclose(single, np.log((np.arange(words) + 2) / (np.arange(words) + 1)) / np.log(words + 1), rtol=1e-5)
