"""Products of bf16 on CPUs that do not multiply it: what hardware would compute, in fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.nn import bf16_products
from plmtrain.nn.bf16_products import WidenedProducts, products_of
from plmtrain.nn.projected_lstm import ProjectedLSTM
from plmtrain.training.precision import autocast

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


@pytest.fixture
def widened(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Return a list that receives the type of each operand that is widened."""
    seen: list[torch.dtype] = []
    natively = bf16_products._widened

    def watched(argument: Any) -> Any:
        if isinstance(argument, Tensor):
            seen.append(argument.dtype)
        return natively(argument)

    monkeypatch.setattr(bf16_products, "_widened", watched)
    return seen


@pytest.mark.parametrize("name", list(PRODUCTS))
def test_a_product_is_that_of_the_rounded_operands_rounded(name: str, widened: list[torch.dtype]) -> None:
    x, w, b = operands()
    with torch.autocast("cpu", torch.bfloat16), WidenedProducts():
        result = PRODUCTS[name](x, w, b)
    assert is_rounded(result, exact(name, x, w, b))
    assert len(widened) >= 2
    assert set(widened) == {torch.float32}
    widened.clear()
    with WidenedProducts():
        result = PRODUCTS[name](*(tensor.bfloat16() for tensor in (x, w, b)))
    assert is_rounded(result, exact(name, x, w, b))
    assert set(widened) == {torch.bfloat16}


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


def test_other_products_are_left_to_torch(widened: list[torch.dtype]) -> None:
    x, w, b = operands()
    few = [tensor.bfloat16() for tensor in operands(rows=4)]
    whole, exact_x = torch.arange(4 * ROWS).view(ROWS, 4), x.double()
    out = torch.empty(ROWS, 56, dtype=torch.bfloat16)
    with WidenedProducts():
        assert torch.equal(functional.linear(x, w, b), functional.linear(*operands()))  # fp32
        assert torch.equal(functional.linear(*few), functional.linear(*few))  # few rows
        torch.mm(x.bfloat16(), w.t().bfloat16(), out=out)
    assert is_rounded(out, exact("mm", x, w, b))
    with torch.autocast("cpu", torch.bfloat16), WidenedProducts():
        assert (whole @ whole.t()).dtype == torch.int64
        assert (exact_x @ w.double().t()).dtype == torch.float64
        assert torch.addmm(b, mat1=x, mat2=w.t()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.float16), WidenedProducts():
        assert functional.linear(x, w, b).dtype == torch.float16
    assert not widened


def test_the_recurrence_widens_in_its_backward_pass(monkeypatch: pytest.MonkeyPatch, widened: list[torch.dtype]) -> None:
    """Torch leaves the context when it begins a backward pass."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: AVX2, raising=False)
    layer = ProjectedLSTM(8, 12, 16, 3.0, 3.0)
    hidden = torch.randn(5, ROWS, 8, requires_grad=True)
    with autocast("bf16", CPU):
        outputs, _ = layer(hidden, torch.zeros(ROWS, 16), torch.zeros(ROWS, 12))
    widened.clear()
    outputs.float().square().sum().backward()
    assert widened.count(torch.bfloat16) >= 2 * 2 * 5 + 4  # two operands of two products a step, and of two after all


@pytest.mark.parametrize(
    ("capabilities", "precision", "expected"),
    [
        (AVX2, "bf16", True),
        (AVX2, "fp32", False),
        ({**AVX2, "avx512_f": True}, "bf16", False),
        ({**AVX2, "avx512_f": True, "avx512_bf16": True}, "bf16", False),
        ({"neon": True}, "bf16", False),
    ],
)
def test_only_cpus_without_kernels_for_bf16_widen(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], precision: Any, expected: bool, widened: list[torch.dtype]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    with autocast(precision, CPU):
        functional.linear(*operands())
    assert bool(widened) == expected
    assert isinstance(products_of(CPU), WidenedProducts) == (capabilities is AVX2)


@pytest.mark.parametrize("has_avx512", [False, True])
def test_older_versions_of_torch_are_asked_otherwise(monkeypatch: pytest.MonkeyPatch, has_avx512: bool) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: has_avx512)
    assert isinstance(products_of(CPU), WidenedProducts) == (not has_avx512)
