"""Moving tensors between plmtrain's modules and the names that another library gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from plmtrain.errors import CheckpointError
from plmtrain.interop.family import Names
from plmtrain.interop.folder import TensorSource

_NAMED = 8
"""The most tensors that an error names."""


def renamed(names: Names, change: Callable[[str], str]) -> Names:
    """Return the same mapping with the other library's names changed."""
    return {ours: replace(source, names=tuple(map(change, source.names))) for ours, source in names.items()}


def present(names: Names, repeats: Mapping[str, str], tensors: TensorSource) -> Names:
    """Return the names under which a file has these tensors: a missing tensor is replaced by an equal one that is there."""
    elsewhere = {name: other for other, name in repeats.items() if other in tensors.shapes}

    def present_name(name: str) -> str:
        return name if name in tensors.shapes else elsewhere.get(name, repeats.get(name, name))

    return renamed(names, present_name)


def flat(names: Iterable[Names]) -> set[str]:
    """Return all of the other library's names."""
    return {name for part in names for source in part.values() for name in source.names}


def fill(module: nn.Module, names: Names, tensors: TensorSource, folder: Path) -> None:
    """Load a module on the meta device; shapes are compared before anything is read.

    Raises:
        CheckpointError: if a tensor is missing or of another shape.
    """
    own = dict(module.named_parameters())
    assert own.keys() == names.keys()
    if missing := sorted(flat([names]) - tensors.shapes.keys()):
        raise CheckpointError(
            f"missing tensors: {listed(missing)}", str(folder), "the model is incomplete, or its settings are wrong"
        )
    for ours, source in names.items():
        for name, expected in zip(source.names, source.split(own[ours]), strict=True):
            if tensors.shapes[name] != tuple(expected.shape):
                raise CheckpointError(
                    f"{name} is {list(tensors.shapes[name])}, expected {list(expected.shape)}",
                    str(folder),
                    "the settings of the model do not fit its weights",
                )
    filled = {ours: source.join([tensors.read(name) for name in source.names]) for ours, source in names.items()}
    module.load_state_dict(filled, assign=True)


def named_tensors(module: nn.Module, names: Names) -> dict[str, Tensor]:
    """Return a module's tensors by the other library's names, in fp32 on the CPU."""
    own = dict(module.named_parameters())
    assert own.keys() == names.keys()
    tensors: dict[str, Tensor] = {}
    for ours, source in names.items():
        tensors |= zip(source.names, source.split(own[ours].detach().float().cpu()), strict=True)
    return tensors


def listed(names: list[str]) -> str:
    """List some names for a message."""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
