"""The cross-entropy against torch's in double precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from plmtrain.nn import loss
from plmtrain.nn.loss import cross_entropy_sum


@pytest.mark.parametrize("piece", [1, 100, 2**19])
@pytest.mark.parametrize(("rows", "classes", "scale"), [(1, 2, 1.0), (13, 101, 3.0), (50, 1000, 30.0), (7, 33, 1e4)])
def test_value_and_gradient(rows: int, classes: int, scale: float, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "_CACHED", piece)
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(rows, classes, generator=generator) * scale).requires_grad_()
    labels = torch.randint(0, classes, (rows,), generator=generator)
    exact = logits.detach().double().requires_grad_()
    expected = functional.cross_entropy(exact, labels, reduction="sum")
    (expected / 7).backward()
    found = cross_entropy_sum(logits, labels)
    (found / 7).backward()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(logits.grad.double(), exact.grad, atol=1e-6)


def test_bf16_logits_are_summed_in_fp32() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(200, 500, generator=generator).bfloat16().requires_grad_()
    labels = torch.randint(0, 500, (200,), generator=generator)
    exact = logits.detach().double().requires_grad_()
    expected = functional.cross_entropy(exact, labels, reduction="sum")
    expected.backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cross_entropy_sum(logits, labels)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert logits.grad.dtype == torch.bfloat16
    assert torch.allclose(logits.grad.double(), exact.grad, rtol=2**-8, atol=1e-6)


def test_with_and_without_gradient_agree() -> None:
    logits = torch.randn(9, 40, requires_grad=True)
    labels = torch.arange(9)
    with torch.no_grad():
        apart = cross_entropy_sum(logits, labels)
    assert apart.item() == pytest.approx(cross_entropy_sum(logits, labels).item(), rel=1e-6)


def test_nothing_to_predict_is_a_zero_in_the_graph() -> None:
    logits = torch.randn(0, 40, requires_grad=True)
    total = cross_entropy_sum(logits, torch.zeros(0, dtype=torch.int64))
    assert total.item() == 0
    total.backward()
    assert logits.grad.shape == (0, 40)


def test_a_number_that_is_not_finite_shows() -> None:
    logits = torch.zeros(3, 5)
    logits[1, 2] = float("nan")
    total = cross_entropy_sum(logits.requires_grad_(), torch.tensor([0, 1, 2]))
    assert total.isnan()


def test_the_way_back_cannot_be_walked_twice_by_mistake() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    total = cross_entropy_sum(logits, torch.tensor([0, 1, 2]))
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()
