"""Compilation of the repeated blocks, each as one graph.

Only a block's own ``forward`` is compiled: what wraps it (sharding) stays outside, and so does the loss, whose number of
predictions differs from batch to batch; so does the last layer of a loss that computes it at the predicted positions alone
(``Block.at``), for the same reason. All blocks of a kind share their kernels.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from plmtrain.backbones import blocks_in
from plmtrain.nn.bf16_products import cpu_lacks_bf16

_MOST_SHAPES = 256
"""The most kernels of a kind of block. Torch's limit is eight, and a run has a shape for each phase, remainder and mode."""


def compile_blocks(learner: nn.Module, *, ragged: bool) -> None:
    """Let the blocks of a learner's backbones be compiled at their first call.

    Args:
        learner: the learner, or a teacher's.
        ragged: whether rows differ in length from batch to batch. A kernel is then made for all lengths, otherwise one for each
            shape. Neither depends on the shapes that came before: a resumed run must compute the same.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = _MOST_SHAPES
    if cpu_lacks_bf16():
        import torch._inductor.config

        # Else the compiler leaves out the rounding of what is widened again for a product (``nn.bf16_products``).
        torch._inductor.config.emulate_precision_casts = True
    for block in blocks_in(learner):
        block.forward = torch.compile(block.forward, fullgraph=True, dynamic=ragged)  # type: ignore[method-assign]


def uncompiled() -> AbstractContextManager[Any]:
    """Return a context in which compiled blocks run as they are: few rows of many shapes would not pay for a kernel each."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()  # nothing is compiled, and its import takes seconds
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
