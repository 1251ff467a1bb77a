"""Parameters of which each process holds some rows, as ``torch.distributed.fsdp.fully_shard`` leaves them, and whole ones alike.

A sharded parameter, its gradient and its moments are torch's ``DTensor``. Optimisers compute with the rows that are here; where a
number is of the whole parameter, such as its norm, it is summed over the processes that hold the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Return whether other processes hold the other rows of a tensor."""
    return hasattr(tensor, "to_local")  # the class itself is not imported: that takes a second, and most runs have none


@torch.no_grad()
def local(tensor: Tensor) -> Tensor:
    """Return the rows of a tensor that are here: all of them if it is whole. They share its memory."""
    rows: Tensor = tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return rows


def locals_of(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the rows of each tensor that are here."""
    return [local(tensor) for tensor in tensors]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with the rows of all processes, all of which must call it."""
    gathered: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return gathered


@torch.no_grad()
def put(tensor: Tensor, values: Tensor) -> None:
    """Replace the values of a tensor.

    Args:
        tensor: whole or sharded.
        values: of the same shape; whole, or sharded in the same way.
    """
    rows = local(tensor)
    if is_sharded(tensor) and not is_sharded(values):
        values = values[first_row(tensor) :][: len(rows)]
    rows.copy_(local(values))


def first_row(tensor: Tensor) -> int:
    """Return the number of the first row that is here: each process but the last ones holds the same number of rows."""
    if not is_sharded(tensor):
        return 0
    mesh, axis = _axis(tensor)
    rows, processes = tensor.shape[0], mesh.size(axis)
    return int(min(mesh.get_local_rank(axis) * -(-rows // processes), rows))


def rows_of_parts(tensor: Tensor, parts: int) -> Sequence[slice | EllipsisType]:
    """Return which of the rows that are here belong to each of the matrices that a parameter joins, one below the other.

    Args:
        tensor: the parameter.
        parts: how many matrices it joins.
    """
    if parts == 1:
        return [...]  # a scalar has no rows
    first, here, rows = first_row(tensor), len(local(tensor)), tensor.shape[0] // parts
    ends = [min(max(part * rows - first, 0), here) for part in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def summed(numbers: Tensor, like: Tensor) -> Tensor:
    """Return the sums of numbers over the processes that hold the rows of one tensor; the numbers themselves if it is whole.

    Args:
        numbers: of the rows that are here.
        like: the tensor, or one that is sharded in the same way.
    """
    if not is_sharded(like):
        return numbers
    mesh, axis = _axis(like)
    total = numbers.clone()
    torch.distributed.all_reduce(total, group=mesh.get_group(axis))
    return total


def whole_norms(norms: Tensor, like: Tensor) -> Tensor:
    """Return norms over the rows of all processes, given those over the rows that are here; arguments as for ``summed``."""
    return summed(norms.square(), like).sqrt() if is_sharded(like) else norms


def _axis(tensor: Tensor) -> tuple[Any, int]:
    """Return the mesh of processes of a sharded tensor, and the axis of it along which its rows are divided."""
    placements: Any = tensor.placements  # type: ignore[attr-defined]
    return tensor.device_mesh, next(axis for axis, placement in enumerate(placements) if placement.is_shard())  # type: ignore[attr-defined]
