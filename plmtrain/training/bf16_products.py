"""Products of bf16 numbers on CPUs that do not multiply them.

Without AVX-512, torch computes such a product in a scalar loop, which takes up to twenty times as long as the same product in
fp32. But a number of eight significant bits is exact in fp32, and so is the product of two of them. So the operands are widened,
their product is computed in fp32, and the result is rounded to bf16: what units for bf16 do, which add in fp32, too. A run that
was begun in bf16 can so be resumed, evaluated and used on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    torch.mm: 0,
    torch.bmm: 0,
    torch.addmm: 1,
    torch.baddbmm: 1,
    torch.einsum: 1,
    torch.conv1d: 0,
}
"""The functions whose arguments are widened, with the place of the left operand. Torch's attention is not among them: its kernel
widens by itself."""


class WidenedProducts(TorchFunctionMode):
    """A context in which products of bf16 numbers on the CPU are computed in fp32 and rounded.

    Where autocast to bf16 is on, operands in fp32 are rounded to bf16 first, as autocast does.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        place, named = _PRODUCTS.get(func), kwargs or {}
        if place is None or not _in_bf16(args) or _rows(args[place]) < _FEWEST_ROWS:
            return func(*args, **named)
        with torch.autocast("cpu", enabled=False):
            product = func(*map(_widened, args), **{name: _widened(value) for name, value in named.items()})
        return product.bfloat16()


def _in_bf16(arguments: Sequence[Any]) -> bool:
    """Return whether torch would compute a product of these in bf16 on the CPU."""
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    if not tensors or tensors[0].device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return all(tensor.dtype == torch.bfloat16 for tensor in tensors)


def _rows(left: Tensor) -> int:
    return left.numel() // max(1, left.shape[-1])


def _widened(argument: Any) -> Any:
    if isinstance(argument, Tensor) and argument.is_floating_point():
        return argument.bfloat16().float()
    return argument
