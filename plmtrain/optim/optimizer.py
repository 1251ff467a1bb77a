"""The optimiser of a learner's parameters, and its state as flat named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from plmtrain.errors import CheckpointError
from plmtrain.optim.adafactor import Adafactor
from plmtrain.optim.adamw import AdamW
from plmtrain.optim.base import StatefulOptimizer
from plmtrain.optim.lamb import Lamb
from plmtrain.settings.optimizer import OptimizerSettings

_TYPES: dict[str, type[StatefulOptimizer]] = {"adamw": AdamW, "lamb": Lamb, "adafactor": Adafactor}


def build(learner: nn.Module, settings: OptimizerSettings) -> StatefulOptimizer:
    """Build an optimiser of the parameters of a learner that require gradients; a shared parameter is included once.

    Call it when the learner is on its device: the moments are created on the device of their parameters.
    """
    owners = {f"{path}.{name}" if path else name: owner for path, owner in learner.named_modules() for name in owner._parameters}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    joined: dict[nn.Parameter, int] = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            groups[settings.weight_decay_on == "all" or decays(owners[name], name, parameter)].append(parameter)
            joined[parameter] = getattr(owners[name], "parts", 1)
    return _TYPES[settings.type](
        [
            {
                "params": groups[True],
                "weight_decay": settings.weight_decay,
                "parts": [joined[parameter] for parameter in groups[True]],
            },
            {"params": groups[False], "weight_decay": 0.0, "parts": None},
        ],
        settings,
    )


def decays(owner: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Return whether weight decay applies: to matrices, not to norms, and not to biases of any shape (as in attention)."""
    if isinstance(owner, nn.LayerNorm | nn.RMSNorm):
        return False
    return parameter.dim() >= 2 and "bias" not in name.rpartition(".")[2]


def state_tensors(optimizer: torch.optim.Optimizer, names: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Tensor]:
    """Return the optimiser's state, for saving: ``PARAMETER.exp_avg``, ``PARAMETER.step`` and so on.

    The tensors are the optimiser's own: the next step changes them.

    Args:
        optimizer: from ``build``.
        names: the learner's named parameters; those that the optimiser does not have are skipped.
    """
    return {
        f"{name}.{key}": tensor
        for name, parameter in names
        if parameter in optimizer.state
        for key, tensor in optimizer.state[parameter].items()
    }


@torch.no_grad()
def load_state_tensors(
    optimizer: torch.optim.Optimizer, names: Iterable[tuple[str, nn.Parameter]], tensors: Mapping[str, Tensor]
) -> None:
    """Restore the tensors of ``state_tensors``, bit for bit.

    Raises:
        CheckpointError: if a tensor is missing, of another shape or type, or belongs to no parameter.
    """
    wanted = state_tensors(optimizer, names)
    if unmatched := sorted(wanted.keys() ^ tensors.keys()):
        side = "lacks" if unmatched[0] in wanted else "has the unknown"
        raise CheckpointError(
            f"the saved optimiser {side} tensor {unmatched[0]}",
            f"{len(unmatched)} of its tensors do not match the learner's parameters",
            "resume with the settings that the run began with",
        )
    for name, tensor in wanted.items():
        saved = tensors[name]
        if saved.shape != tensor.shape or saved.dtype != tensor.dtype:
            raise CheckpointError(
                f"the saved optimiser's tensor {name} is {saved.dtype} {list(saved.shape)}",
                f"the learner's is {tensor.dtype} {list(tensor.shape)}",
                "resume with the settings that the run began with",
            )
        tensor.copy_(saved)
