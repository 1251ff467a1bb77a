"""Dropout: the promised probability, independence, the seed, the gradient, and the same under a compiler."""

from __future__ import annotations

import math

import pytest
import torch

from plmtrain.nn.dropout import add_dropped, dropout, dropped_levels, kept_scale

SIZE = 2_000_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.003, 0.97])
def test_rate_and_scale(probability: float, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    exact = dropped_levels(probability) / 65536
    assert abs(exact - probability) <= 0.5 / 65536
    dropped = dropout(torch.ones(SIZE, dtype=dtype), probability, training=True)
    share = (dropped == 0).float().mean().item()
    assert abs(share - exact) < 5 * math.sqrt(exact * (1 - exact) / SIZE)
    assert dropped.unique().tolist() == [0, torch.tensor(1 / (1 - exact)).to(dtype).item()]
    assert kept_scale(probability) == pytest.approx(1 / (1 - exact), rel=1e-12)


def test_elements_are_independent() -> None:
    """Neighbours come from the same 64-bit number: no two within reach may be correlated, nor two draws."""
    torch.manual_seed(4)
    first, second = ((dropout(torch.ones(SIZE), 0.1, training=True) == 0).double() - 0.1 for _ in range(2))
    bound = 5 * 0.09 / math.sqrt(SIZE)
    for distance in (1, 2, 3, 4, 5, 8, 64, 128):
        assert abs((first[:-distance] * first[distance:]).mean()) < bound, distance
    assert abs((first * second).mean()) < bound


def test_a_seed_determines_everything() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropout(torch.ones(5, 7, 11), 0.4, training=True)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_the_rest_of_the_process_does_not_matter() -> None:
    """Neither NumPy's nor Python's generator, nor how large an earlier draw was beyond torch's own state."""
    import random

    import numpy as np

    results = []
    for poison in (0, 1):
        np.random.seed(poison)
        random.seed(poison)
        torch.manual_seed(5)
        results.append(dropout(torch.ones(1000), 0.4, training=True))
    assert torch.equal(*results)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 0, 4), (5, 3)])
def test_any_shape_and_layout(shape: tuple[int, ...]) -> None:
    hidden = torch.ones(shape, requires_grad=True)
    dropped = dropout(hidden, 0.5, training=True)
    assert dropped.shape == shape
    dropped.sum().backward()
    assert torch.equal(hidden.grad, dropped.detach())
    strided = torch.ones(4, 6).t()
    assert dropout(strided, 0.5, training=True).shape == (6, 4)


def test_gradient_passes_where_elements_stay() -> None:
    hidden = torch.randn(100, 30, requires_grad=True)
    residual = torch.randn(100, 30, requires_grad=True)
    torch.manual_seed(6)
    added = add_dropped(residual, hidden, 0.25, training=True)
    torch.manual_seed(6)
    assert torch.allclose(added, residual + dropout(hidden, 0.25, training=True), atol=1e-6)
    outer = torch.randn_like(added)
    added.backward(outer)
    factor = torch.where((added - residual).detach() != 0, kept_scale(0.25), 0.0)
    assert torch.equal(residual.grad, outer)
    assert torch.allclose(hidden.grad, outer * factor)


def test_nothing_happens_outside_training() -> None:
    hidden = torch.randn(10)
    state = torch.get_rng_state()
    assert dropout(hidden, 0.5, training=False) is hidden
    assert dropout(hidden, 0.0, training=True) is hidden
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_two_draws_in_a_compiled_function_differ() -> None:
    """Compilers join equal calls of pure functions: here they must not."""

    @torch.compile(fullgraph=True)
    def twice(hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return dropout(hidden, 0.5, training=True), dropout(hidden, 0.5, training=True)

    hidden = torch.ones(1000, requires_grad=True)
    torch.manual_seed(7)
    first, second = twice(hidden)
    assert not torch.equal(first, second)
    first.sum().backward()
    assert torch.equal(hidden.grad, first.detach())
    torch.manual_seed(7)
    assert torch.equal(twice(hidden)[0], first)
