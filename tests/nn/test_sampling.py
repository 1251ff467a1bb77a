"""Draws follow the softmax, and rounding never leads outside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from plmtrain.nn.sampling import draw_classes

ALMOST_ONE = torch.tensor([1 - 2**-53], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    n, generator = 200_000, torch.Generator().manual_seed(0)
    logits = torch.randn(40, generator=generator) * 2
    uniforms = torch.rand(n, generator=generator, dtype=torch.float64)
    counted = torch.bincount(draw_classes(logits.expand(n, 40), uniforms, temperature), minlength=40).double()
    expected = n * (logits.double() / temperature).softmax(0)
    rare = expected < 10
    observed = torch.cat([counted[~rare], counted[rare].sum()[None]]) if rare.any() else counted
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]]) if rare.any() else expected
    statistic = ((observed - expected) ** 2 / expected).sum().item()
    assert statistic < chi2.ppf(0.999, len(observed) - 1)


def test_a_draw_is_the_inverse_of_the_cumulative_distribution() -> None:
    probabilities = torch.tensor([[0.25, 0.0, 0.5, 0.25]])
    for uniform, expected in ((0.0, 0), (0.249, 0), (0.2501, 2), (0.7499, 2), (0.7501, 3), (0.9999, 3)):
        assert draw_classes(probabilities.log(), torch.tensor([uniform], dtype=torch.float64)).item() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neither_end_of_the_distribution_gives_a_class_of_no_probability(dtype: torch.dtype) -> None:
    """A uniform number that fp32 rounds to one, and totals that rounding makes less than one."""
    for seed in range(50):
        logits = torch.randn(1, 3001, generator=torch.Generator().manual_seed(seed)).to(dtype) * 3
        logits[:, :100] = logits[:, -100:] = -torch.inf
        assert draw_classes(logits, ALMOST_ONE).item() < 2901
        assert draw_classes(logits, torch.zeros(1)).item() == 100
    peaked = torch.full((1, 30_000), -80.0)
    peaked[0, 17] = 80.0
    assert draw_classes(peaked, ALMOST_ONE).item() == 17


def test_rows_are_drawn_alike_in_pieces_and_at_once() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, uniforms = torch.randn(50, 30_000, generator=generator), torch.rand(50, generator=generator)
    whole = draw_classes(logits, uniforms)
    assert torch.equal(whole, torch.cat([draw_classes(logits[row : row + 1], uniforms[row : row + 1]) for row in range(50)]))
    cumulative = logits.double().softmax(1).cumsum(1).numpy()
    exact = [int(np.searchsorted(line, u, side="right")) for line, u in zip(cumulative, uniforms.tolist(), strict=True)]
    assert whole.tolist() == exact


def test_what_is_not_finite_still_gives_a_class() -> None:
    """A run that diverges must get as far as to say so."""
    logits = torch.full((2, 10), torch.nan)
    assert 0 <= int(draw_classes(logits, torch.tensor([0.1, 0.9])).max()) < 10
    assert draw_classes(torch.empty(0, 10), torch.empty(0)).tolist() == []


def test_no_gradient_goes_through_a_draw() -> None:
    logits = torch.randn(3, 10, requires_grad=True)
    assert not draw_classes(logits, torch.rand(3)).requires_grad
