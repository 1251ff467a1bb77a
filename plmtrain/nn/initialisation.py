"""Initial weights: Devlin et al. 2019's code draws them from a narrow normal distribution; biases are zero, norms one.

And modules without any, whose weights are read from a file or whose shapes are all that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def initialise(module: nn.Module, std: float, truncated: bool) -> None:
    """Draw all weights of a module and its submodules anew, from torch's global generator.

    Args:
        module: linear layers and embeddings get normal weights, layer norms become the identity; biases are zero.
        std: the standard deviation of the weights.
        truncated: whether weights beyond two standard deviations are redrawn, as in BERT's TensorFlow code.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            if truncated:
                nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
            else:
                nn.init.normal_(part.weight, std=std)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        bias = getattr(part, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)


def initialise_by_width(module: nn.Module) -> None:
    """Draw the weights of a module and its submodules anew, as XLM's code does, from torch's global generator.

    Embeddings get normal weights with a standard deviation of width^-1/2. Linear layers are torch's own: weights and biases are
    uniform within inputs^-1/2.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5)


def glorot(weight: Tensor, inputs: int, outputs: int) -> None:
    """Draw a weight anew, uniformly within sqrt(6 / (inputs + outputs)): TensorFlow's rule for layers without an initialiser
    (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / (inputs + outputs))
    nn.init.uniform_(weight, -bound, bound)


class _NothingDrawn(TorchFunctionMode):
    """Leave tensors as they are where random numbers would fill them.

    On the meta device torch draws by code that imports its compiler, which takes seconds.
    """

    _DRAWS = frozenset({nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, torch.Tensor.normal_, torch.Tensor.uniform_})

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules on torch's meta device: they have shapes, and no memory for weights."""
    with torch.device("meta"), _NothingDrawn():
        yield
