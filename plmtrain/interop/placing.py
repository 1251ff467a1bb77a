"""Moving tensors between our modules and the names that another library gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from plmtrain.errors import CheckpointError
from plmtrain.interop.family import Names
from plmtrain.interop.folder import Tensors

_NAMED = 8
"""How many tensors an error names at most."""


def prefixed(names: Names, prefix: str) -> Names:
    """The same names with something before each of theirs."""
    return {ours: tuple(prefix + name for name in theirs) for ours, theirs in names.items()}


def present(names: Names, repeats: Mapping[str, str], tensors: Tensors) -> Names:
    """The names with which a file has these tensors: where one is missing, that of an equal one that is there."""
    elsewhere = {name: other for other, name in repeats.items() if other in tensors.shapes}
    return {
        ours: tuple(name if name in tensors.shapes else elsewhere.get(name, name) for name in theirs)
        for ours, theirs in names.items()
    }


def flat(names: Iterable[Names]) -> set[str]:
    """All of their names."""
    return {name for part in names for theirs in part.values() for name in theirs}


def fill(module: nn.Module, names: Names, tensors: Tensors, folder: Path) -> None:
    """Give a module on the meta device its numbers; shapes are compared before anything is read.

    Raises:
        CheckpointError: if a tensor is missing or of another shape.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    assert shapes.keys() == names.keys()
    if missing := sorted(name for theirs in names.values() for name in theirs if name not in tensors.shapes):
        raise CheckpointError(
            f"missing tensors: {listed(missing)}", str(folder), "the model is not whole, or config.json is wrong"
        )
    for ours, theirs in names.items():
        expected = (shapes[ours][0] // len(theirs), *shapes[ours][1:])
        for name in theirs:
            if tensors.shapes[name] != expected:
                raise CheckpointError(
                    f"{name} is {list(tensors.shapes[name])}, expected {list(expected)}", str(folder), "config.json does not fit"
                )
    filled = {}
    for ours, theirs in names.items():
        parts = [tensors.read(name) for name in theirs]
        filled[ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    module.load_state_dict(filled, assign=True)


def split(module: nn.Module, names: Names) -> dict[str, Tensor]:
    """A module's tensors by their names, in fp32 on the CPU. Those that it shares with another module are among them."""
    own = dict(module.named_parameters())
    assert own.keys() == names.keys()
    found: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        found |= zip(theirs, own[ours].detach().float().cpu().chunk(len(theirs)), strict=True)
    return found


def listed(names: list[str]) -> str:
    """Some names for a message."""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
