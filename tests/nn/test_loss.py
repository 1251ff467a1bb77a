"""The cross-entropy against torch's in double precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from plmtrain.nn import loss
from plmtrain.nn.loss import cross_entropy_sum, tied_cross_entropy


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


def tied(rows: int, width: int, classes: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(rows, width, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(classes, width, generator=generator).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, classes, (rows,), generator=generator)


@pytest.mark.parametrize("scored", [1, 500, 2**22])
@pytest.mark.parametrize("rows", [0, 1, 57])
def test_tied_loss_is_that_of_all_logits_at_once(rows: int, scored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "_SCORED_ON_CPU", scored)
    hidden, weight, labels = tied(rows, 12, 101)
    exact_hidden, exact_weight = (tensor.detach().double().requires_grad_() for tensor in (hidden, weight))
    each = functional.cross_entropy(exact_hidden @ exact_weight.t(), labels, reduction="none")
    (each.sum() * 0.3).backward()
    total, losses = tied_cross_entropy(hidden, weight, labels)
    (total * 0.3).backward()
    assert total.dtype == losses.dtype == torch.float32
    assert not losses.requires_grad
    assert total.item() == pytest.approx(each.sum().item(), rel=1e-5)
    assert torch.allclose(losses.double(), each, atol=1e-4)
    assert torch.allclose(hidden.grad.double(), exact_hidden.grad, atol=1e-5)
    assert torch.allclose(weight.grad.double(), exact_weight.grad, atol=1e-4)
    with torch.no_grad():
        again, alone = tied_cross_entropy(hidden, weight, labels)
    assert again.item() == pytest.approx(total.item(), rel=1e-6)
    assert torch.allclose(alone, losses, atol=1e-4)


def test_tied_loss_under_autocast() -> None:
    """Products in bf16, sums in fp32, gradients in the type of what they are of."""
    hidden, weight, labels = tied(300, 16, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = tied_cross_entropy(hidden, weight, labels)
        whole = cross_entropy_sum(functional.linear(hidden, weight), labels)
    expected = torch.autograd.grad(whole, (hidden, weight))
    found = torch.autograd.grad(total, (hidden, weight))
    assert total.item() == pytest.approx(whole.item(), rel=1e-4)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert (one - other).abs().max() < 0.02 * other.abs().max()


@pytest.mark.parametrize("grad", [True, False])
def test_no_tensor_of_all_logits_is_made(grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "_SCORED_ON_CPU", 8 * 700)

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
            made = function(*arguments, **(options or {}))
            for tensor in made if isinstance(made, tuple) else (made,):
                if isinstance(tensor, torch.Tensor):
                    Largest.size = max(Largest.size, tensor.numel())
            return made

    hidden, weight, labels = tied(400, 8, 700)
    with Largest(), torch.set_grad_enabled(grad):
        total, _ = tied_cross_entropy(hidden, weight, labels)
        if grad:
            total.backward()
    assert 0 < Largest.size <= 8 * 700  # a chunk, or the table: 400 * 700 would be all
