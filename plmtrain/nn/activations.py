"""Activation functions by the names that settings give them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,  # with the error function: RoBERTa, ELECTRA, and BERT in Hugging Face's form
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),  # BERT's TensorFlow code, ALBERT, GPT-2
    "relu": functional.relu,
}


def activate(name: str, hidden: Tensor) -> Tensor:
    """Apply the activation of a name (Hendrycks and Gimpel 2016 for the GELUs)."""
    return ACTIVATIONS[name](hidden)
