"""The optimiser of a learner's parameters, and its state as flat named tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from plmtrain.errors import CheckpointError
from plmtrain.optim.adafactor import Adafactor
from plmtrain.optim.adagrad import Adagrad
from plmtrain.optim.adamw import AdamW
from plmtrain.optim.base import StatefulOptimizer
from plmtrain.optim.lamb import Lamb
from plmtrain.optim.muon import Muon
from plmtrain.optim.shards import put
from plmtrain.settings.optimizer import OptimizerSettings

_TYPES: dict[str, type[StatefulOptimizer]] = {
    "adamw": AdamW,
    "lamb": Lamb,
    "adafactor": Adafactor,
    "adagrad": Adagrad,
    "muon": Muon,
}


def build(
    learner: nn.Module,
    settings: OptimizerSettings,
    shares: Mapping[nn.Parameter, float] = MappingProxyType({}),
    hidden: Collection[nn.Parameter] = frozenset(),
    products: torch.dtype = torch.float32,
) -> StatefulOptimizer:
    """Build an optimiser of the parameters of a learner that require gradients; a shared parameter is included once.

    Call it when the learner is on its device, and sharded if it will be: the moments are created as their parameters are.

    Args:
        learner: the parameters' owner.
        settings: the optimiser's.
        shares: of some parameters, the share of the learning rate that is theirs; the whole rate for all others.
        hidden: the matrices within the layers, which Muon makes orthogonal updates of.
        products: the type of the matrix products of these updates.
    """
    owners = {f"{path}.{name}" if path else name: owner for path, owner in learner.named_modules() for name in owner._parameters}
    groups: dict[tuple[float, bool, bool], dict[nn.Parameter, int]] = defaultdict(dict)
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            decayed = settings.weight_decay_on == "all" or decays(owners[name], parameter)
            measured = parameter in hidden if settings.type == "muon" else decayed
            groups[shares.get(parameter, 1.0), decayed, measured][parameter] = getattr(owners[name], "parts", 1)
    return _TYPES[settings.type](
        [
            {
                "params": list(joined),
                "weight_decay": settings.weight_decay if decayed else 0.0,
                "parts": list(joined.values()) if measured else None,
                "share": share,
            }
            for (share, decayed, measured), joined in groups.items()
        ],
        settings,
        products,
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
