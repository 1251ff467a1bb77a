"""The global norm of gradients, and gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from plmtrain.optim.shards import local, whole_norms


@torch.no_grad()
def clip_by_global_norm(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """Scale all gradients by max_norm / max(norm, max_norm) (Pascanu et al. 2013, as in the code of BERT and ELECTRA).

    Args:
        parameters: those whose gradients form the norm; parameters without a gradient are skipped. Of sharded ones all processes
            that hold rows must call it, and get the same norm.
        max_norm: the limit; with None the norm is only measured.

    Returns:
        The norm before scaling, a float32 scalar on the gradients' device: nothing waits for the device until it is read. Where
        it is not finite, neither are the gradients afterwards.
    """
    owned = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not owned:
        return torch.zeros(())
    gradients = [local(gradient) for gradient in owned]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0, torch.float32)))
    norm = whole_norms(norm, owned[0])
    # On a CPU the norm is known already, and multiplying by 1 would read and write every gradient for nothing.
    if max_norm is not None and not (norm.device.type == "cpu" and norm <= max_norm):
        torch._foreach_mul_(gradients, max_norm / norm.clamp(min=max_norm))
    return norm
