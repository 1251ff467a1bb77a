"""Products of bf16 on CPUs that do not multiply it: what hardware would compute, in fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.training.bf16_products import WidenedProducts
from plmtrain.training.precision import autocast, products_of

CPU = torch.device("cpu")
AVX2 = {"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False}
ROWS = 24

PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "linear": lambda x, w, b: functional.linear(x, w, b),
    "@": lambda x, w, b: x @ w.t(),
    "matmul": lambda x, w, b: torch.matmul(x, w.t()),
    "mm": lambda x, w, b: torch.mm(x, w.t()),
    "addmm": lambda x, w, b: torch.addmm(b, x, w.t()),
    "bmm": lambda x, w, b: torch.bmm(x[None], w.t()[None])[0],
    "baddbmm": lambda x, w, b: torch.baddbmm(b[None, None], x[None], w.t()[None])[0],
    "einsum": lambda x, w, b: torch.einsum("rk,nk->rn", x, w),
    "conv1d": lambda x, w, b: functional.conv1d(x.t()[None], w[:, :, None], b)[0].t(),
}


def operands(rows: int = ROWS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.randn(shape, generator=generator) for shape in ((rows, 40), (56, 40), (56,)))  # type: ignore[return-value]


def exact(name: str, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return the product of the rounded operands in fp64."""
    result = PRODUCTS[name](*(tensor.detach().bfloat16().double() for tensor in (x, w, b)))
    assert result.dtype == torch.float64
    return result


def is_rounded(result: Tensor, wanted: Tensor) -> bool:
    """Return whether each number is one of the two bf16 next to the wanted one, but for what fp32's sums lose."""
    step = wanted.abs().clamp(min=2**-6) * 2**-8  # half of the distance of two numbers of eight bits, or more
    return result.dtype == torch.bfloat16 and bool(((result.double() - wanted).abs() <= step + 1e-5).all())


@pytest.mark.parametrize("name", list(PRODUCTS))
def test_a_product_is_that_of_the_rounded_operands_rounded(name: str) -> None:
    x, w, b = operands()
    with torch.autocast("cpu", torch.bfloat16), WidenedProducts():
        result = PRODUCTS[name](x, w, b)
    assert is_rounded(result, exact(name, x, w, b))
    with WidenedProducts():
        result = PRODUCTS[name](*(tensor.bfloat16() for tensor in (x, w, b)))
    assert is_rounded(result, exact(name, x, w, b))


@pytest.mark.parametrize("name", list(PRODUCTS))
def test_gradients_are_those_of_bf16(name: str) -> None:
    outer = torch.randn(ROWS, 56, generator=torch.Generator().manual_seed(4))
    ours, torchs = [[tensor.clone().requires_grad_() for tensor in operands()] for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16), WidenedProducts():
        result = PRODUCTS[name](*ours)
    result.backward(outer.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        PRODUCTS[name](*torchs).backward(outer.bfloat16())
    for mine, theirs in zip(ours, torchs, strict=True):
        if theirs.grad is None:
            assert mine.grad is None
            continue
        assert mine.grad is not None
        assert mine.grad.dtype == torch.float32
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=2**-7, atol=2e-2)


def test_other_products_are_left_to_torch() -> None:
    x, w, b = operands()
    few = operands(rows=4)
    with WidenedProducts():
        assert torch.equal(functional.linear(x, w, b), functional.linear(*operands()))  # fp32
        low = [tensor.bfloat16() for tensor in few]
        widened = functional.linear(*low)
    assert torch.equal(widened, functional.linear(*low))  # few rows
    with torch.autocast("cpu", torch.float16), WidenedProducts():
        assert functional.linear(x, w, b).dtype == torch.float16


@pytest.mark.parametrize(
    ("capabilities", "precision", "widened"),
    [
        (AVX2, "bf16", True),
        (AVX2, "fp32", False),
        ({**AVX2, "avx512_f": True}, "bf16", False),
        ({**AVX2, "avx512_f": True, "avx512_bf16": True}, "bf16", False),
        ({"neon": True}, "bf16", False),
    ],
)
def test_only_cpus_without_kernels_for_bf16_widen(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], precision: Any, widened: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    seen: list[torch.dtype] = []
    natively = torch.Tensor.float

    def watched(tensor: Tensor) -> Tensor:
        seen.append(tensor.dtype)
        return natively(tensor)

    monkeypatch.setattr(torch.Tensor, "float", watched)
    with autocast(precision, CPU):
        functional.linear(*operands())
    assert (torch.bfloat16 in seen) == widened
    assert isinstance(products_of(CPU), WidenedProducts) == (capabilities is AVX2)
