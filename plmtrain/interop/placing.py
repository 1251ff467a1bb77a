"""Moving tensors between our modules and the names that another library gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from plmtrain.errors import CheckpointError
from plmtrain.interop.family import Names
from plmtrain.interop.folder import Tensors

_NAMED = 8
"""How many tensors an error names at most."""


def renamed(names: Names, change: Callable[[str], str]) -> Names:
    """The same tensors of ours under other names of theirs."""
    return {ours: replace(source, names=tuple(map(change, source.names))) for ours, source in names.items()}


def present(names: Names, repeats: Mapping[str, str], tensors: Tensors) -> Names:
    """The names with which a file has these tensors: where one is missing, that of an equal one that is there."""
    elsewhere = {name: other for other, name in repeats.items() if other in tensors.shapes}

    def found(name: str) -> str:
        return name if name in tensors.shapes else elsewhere.get(name, name)

    return renamed(names, found)


def flat(names: Iterable[Names]) -> set[str]:
    """All of their names."""
    return {name for part in names for source in part.values() for name in source.names}


def fill(module: nn.Module, names: Names, tensors: Tensors, folder: Path) -> None:
    """Give a module on the meta device its numbers; shapes are compared before anything is read.

    Raises:
        CheckpointError: if a tensor is missing or of another shape.
    """
    own = dict(module.named_parameters())
    assert own.keys() == names.keys()
    if missing := sorted(flat([names]) - tensors.shapes.keys()):
        raise CheckpointError(
            f"missing tensors: {listed(missing)}", str(folder), "the model is not whole, or config.json is wrong"
        )
    for ours, source in names.items():
        for name, expected in zip(source.names, source.split(own[ours]), strict=True):
            if tensors.shapes[name] != tuple(expected.shape):
                raise CheckpointError(
                    f"{name} is {list(tensors.shapes[name])}, expected {list(expected.shape)}",
                    str(folder),
                    "config.json does not fit",
                )
    filled = {ours: source.join([tensors.read(name) for name in source.names]) for ours, source in names.items()}
    module.load_state_dict(filled, assign=True)


def named_tensors(module: nn.Module, names: Names) -> dict[str, Tensor]:
    """A module's tensors by their names, in fp32 on the CPU."""
    own = dict(module.named_parameters())
    assert own.keys() == names.keys()
    found: dict[str, Tensor] = {}
    for ours, source in names.items():
        found |= zip(source.names, source.split(own[ours].detach().float().cpu()), strict=True)
    return found


def listed(names: list[str]) -> str:
    """Some names for a message."""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
