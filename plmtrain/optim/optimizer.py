"""The optimiser of a learner's parameters, and its state as flat named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from plmtrain.errors import CheckpointError
from plmtrain.optim.adafactor import Adafactor
from plmtrain.optim.adagrad import Adagrad
from plmtrain.optim.adamw import AdamW
from plmtrain.optim.base import StatefulOptimizer
from plmtrain.optim.lamb import Lamb
from plmtrain.optim.shards import put
from plmtrain.settings.optimizer import OptimizerSettings

_TYPES: dict[str, type[StatefulOptimizer]] = {"adamw": AdamW, "lamb": Lamb, "adafactor": Adafactor, "adagrad": Adagrad}


def build(
    learner: nn.Module, settings: OptimizerSettings, shares: Mapping[nn.Parameter, float] = MappingProxyType({})
) -> StatefulOptimizer:
    """Build an optimiser of the parameters of a learner that require gradients; a shared parameter is included once.

    Call it when the learner is on its device, and sharded if it will be: the moments are created as their parameters are.

    Args:
        learner: the parameters' owner.
        settings: the optimiser's.
        shares: of some parameters, the share of the learning rate that is theirs; the whole rate for all others.
    """
    owners = {f"{path}.{name}" if path else name: owner for path, owner in learner.named_modules() for name in owner._parameters}
    groups: dict[float, dict[bool, list[nn.Parameter]]] = {1.0: {True: [], False: []}}
    joined: dict[nn.Parameter, int] = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            by_decay = groups.setdefault(shares.get(parameter, 1.0), {True: [], False: []})
            by_decay[settings.weight_decay_on == "all" or decays(owners[name], parameter)].append(parameter)
            joined[parameter] = getattr(owners[name], "parts", 1)
    return _TYPES[settings.type](
        [
            group
            for share, by_decay in groups.items()
            for group in (
                {
                    "params": by_decay[True],
                    "weight_decay": settings.weight_decay,
                    "parts": [joined[parameter] for parameter in by_decay[True]],
                    "share": share,
                },
                {"params": by_decay[False], "weight_decay": 0.0, "parts": None, "share": share},
            )
        ],
        settings,
    )


def decays(owner: nn.Module, parameter: nn.Parameter) -> bool:
    """Return whether weight decay applies: to matrices, not to norms and biases. XLNet's biases of attention, a vector for each
    head, are matrices, and its code decays them."""
    return parameter.dim() >= 2 and not isinstance(owner, nn.LayerNorm | nn.RMSNorm)


def state_tensors(optimizer: torch.optim.Optimizer, names: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Tensor]:
    """Return the optimiser's state, for saving: ``PARAMETER.exp_avg``, ``PARAMETER.step`` and so on.

    The tensors are the optimiser's own: the next step changes them. Those of sharded parameters are sharded.

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
    optimizer: StatefulOptimizer, names: Iterable[tuple[str, nn.Parameter]], tensors: Mapping[str, Tensor]
) -> None:
    """Restore the tensors of ``state_tensors``, bit for bit; the saved ones are whole.

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
        put(tensor, saved)
