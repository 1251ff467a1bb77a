"""Products of bf16 numbers on CPUs that do not multiply them.

Without AVX-512, torch computes such a product in a scalar loop, which takes up to twenty times as long as the same product in
fp32. But a number of eight significant bits is exact in fp32, and so is the product of two of them. So the operands are widened,
their product is computed in fp32, and the result is rounded to bf16: what units for bf16 do, which add in fp32, too. A run that
was begun in bf16 can so be resumed, evaluated and used on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_FEWEST_ROWS = 16
"""Below that many rows the weights are read once for little work, and widening them costs more than the loop. On a CPU with AVX2
and weights of 0.3 to 2.4 million numbers, widened products took 1.4 to 4 times as long with one row, 0.3 to 1.7 times with 8, 0.2
to 0.7 times with 16, and 0.05 to 0.2 times with 128."""

_PRODUCTS: Mapping[Callable[..., Any], int] = {
    functional.linear: 0,
    torch.Tensor.matmul: 0,
    torch.Tensor.__matmul__: 0,
    torch.matmul: 0,
    torch.Tensor.mm: 0,
    torch.mm: 0,
    torch.Tensor.bmm: 0,
    torch.bmm: 0,
    torch.Tensor.addmm: 1,
    torch.addmm: 1,
    torch.Tensor.baddbmm: 1,
    torch.baddbmm: 1,
    torch.einsum: 1,
    torch.conv1d: 0,
}
"""The functions whose arguments are widened, with the place of the left operand. Torch's attention is not among them: its kernel
widens by itself."""


_FLOATS = frozenset({torch.float32, torch.bfloat16, torch.float16})
"""The types that autocast rounds: it leaves integers and fp64 alone."""


def products_of(device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a device computes products of bf16 in a reasonable time.

    It does nothing to other products. Torch leaves it for the backward pass, and for what is computed again there: functions with
    products of their own enter it by themselves.
    """
    return WidenedProducts() if device.type == "cpu" and cpu_lacks_bf16() else nullcontext()


def cpu_lacks_bf16() -> bool:
    """Return whether torch has no kernel for products of bf16: on x86 it needs AVX-512, with or without units for bf16."""
    able = cpu_abilities()
    return bool(able.get("avx2")) and not able.get("avx512_f")


def cpu_abilities() -> Mapping[str, Any]:
    """Return which instructions the CPU has, by torch's names."""
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    # Before torch 2.11 the names are private: if one is gone, fp32 is the safe answer.
    private = {
        "amx_bf16": "_is_amx_tile_supported",
        "avx512_bf16": "_is_avx512_bf16_supported",
        "avx512_f": "_is_avx512_supported",
        "avx2": "_is_avx2_supported",
    }
    return {key: getattr(torch.cpu, name, bool)() for key, name in private.items()}


class WidenedProducts(TorchFunctionMode):
    """A context in which products of bf16 numbers on the CPU are computed in fp32 and rounded.

    Where autocast to bf16 is on, operands in fp32 are rounded to bf16 first, as autocast does.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if not _is_widened(func, args, named):
            return func(*args, **named)
        with torch.autocast("cpu", enabled=False):
            product = func(*map(_widened, args), **{name: _widened(value) for name, value in named.items()})
        return product.bfloat16()


def _is_widened(func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Return whether torch would compute a product of many rows in bf16 on the CPU."""
    place = _PRODUCTS.get(func)
    if place is None or len(args) <= place or not isinstance(args[place], Tensor) or "out" in named:
        return False
    tensors = [argument for argument in (*args, *named.values()) if isinstance(argument, Tensor)]
    if any(tensor.device.type != "cpu" or tensor.dtype not in _FLOATS for tensor in tensors):
        return False
    if torch.is_autocast_enabled("cpu"):
        in_bf16 = torch.get_autocast_dtype("cpu") == torch.bfloat16
    else:
        in_bf16 = all(tensor.dtype == torch.bfloat16 for tensor in tensors)
    return in_bf16 and _rows(args[place]) >= _FEWEST_ROWS


def _rows(left: Tensor) -> int:
    return left.numel() // max(1, left.shape[-1])


def _widened(argument: Any) -> Any:
    return argument.bfloat16().float() if isinstance(argument, Tensor) else argument
