"""Drawing classes from a softmax by inverting its cumulative distribution at uniform numbers.

The numbers are made together with the batch, so that a draw is a function of the sample, not of the process or time of its
computation.
"""

from __future__ import annotations

import torch
from torch import Tensor

_CACHED = 2**19
"""Numbers that fit into a core's cache: on a CPU the logits are processed in pieces of about this size."""

_BELOW_ONE = 1 - 2**-24
"""The greatest fp32 number below one: times any total, it stays below that total."""


_COLDEST = torch.finfo(torch.float32).tiny
"""The lowest temperature: at a lower one the most likely class alone is drawn, too."""


def scaled(logits: Tensor, temperature: float) -> Tensor:
    """Return logits divided by a temperature, in fp32, less the greatest of each row: 0 at the most likely class.

    Their softmax is that of logits / temperature, and finite however low the temperature is.

    Args:
        logits: [n, classes].
        temperature: above 0.
    """
    logits = logits.float()
    return (logits - logits.amax(dim=1, keepdim=True)) / max(temperature, _COLDEST)


@torch.no_grad()
def draw_classes(logits: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
    """Draw one class for each row from softmax(logits / temperature), in fp32 whatever the logits' type.

    Args:
        logits: [n, classes]; the draw passes no gradient.
        uniforms: [n] numbers in [0, 1).
        temperature: below 1 the distribution is sharper, above 1 flatter.

    Returns:
        [n] int64 classes, none of them of probability zero.
    """
    classes = logits.shape[1]
    step = max(1, _CACHED // classes) if logits.device.type == "cpu" else max(1, len(logits))
    drawn = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
    for start in range(0, len(logits), step):
        rows = slice(start, start + step)
        cumulative = scaled(logits[rows], temperature).exp_().cumsum(dim=1)  # not normalised: the last is the total
        # The first class whose cumulative weight exceeds this share of the total; despite rounding there always is one.
        share = uniforms[rows, None].float().clamp(max=_BELOW_ONE) * cumulative[:, -1:]
        drawn[rows] = torch.searchsorted(cumulative, share, right=True)[:, 0]
    return drawn.clamp_(max=classes - 1)  # a row that is not finite has no such class; a diverging run must still report that
