"""Activation checkpointing (Chen et al. 2016, section 4): memory for time, with the same result.

Of each block only the input is kept for the backward pass; the block is computed again when its gradients are needed, with the
same random numbers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from plmtrain.backbones import blocks_in
from plmtrain.nn.bf16_products import products_of


def recompute_blocks(learner: nn.Module) -> None:
    """Let the blocks of a learner's backbones keep their inputs alone, however they are called: ``forward``, or another of their
    ``entries``, as the last layer of a loss that reads some positions only.

    Args:
        learner: the learner; names and values of its parameters stay as they are.
    """
    for block in blocks_in(learner):
        for name in ("forward", *getattr(block, "entries", ())):
            again = partial(checkpoint, getattr(block, name), use_reentrant=False, context_fn=_contexts)
            setattr(block, name, again)


def _contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of the first and of the second computation, besides autocast, which torch repeats by itself."""
    return nullcontext(), products_of(torch.device("cpu"))  # on a GPU it does nothing
