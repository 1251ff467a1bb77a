"""Fully sharded data parallel (Rajbhandari et al. 2020, stage 3; ``torch.distributed.fsdp.fully_shard``): each process holds some
rows of every weight, of its gradient and of its moments.

A block is gathered for its own computation alone and is let go after it, forward and backward; all that is in no block, such as
embeddings and heads that are tied to them, is gathered once for a whole step. Accelerate's own way to the same torch function
is not taken: it shards on accelerators only, finds blocks by the names of their classes, and needs an optimiser without a state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from plmtrain.backbones import blocks_in
from plmtrain.errors import SettingsError
from plmtrain.settings.trainer import Sharding


def mesh_of(sharding: Sharding, processes: int, device: torch.device) -> DeviceMesh:
    """Arrange the processes: those of the last axis hold one copy of the weights among them.

    Args:
        sharding: ``full`` for one copy in all processes; ``hybrid`` for one in each machine.
        processes: how many there are.
        device: where they compute.

    Raises:
        SettingsError: if the processes of each machine cannot hold a copy of their own.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if sharding == "full" or here == processes:
        return init_device_mesh(device.type, (processes,), mesh_dim_names=("shards",))
    if here == 1 or processes % here:
        what = (
            "there is one process on this machine" if here == 1 else f"{processes} processes are not the same number everywhere"
        )
        raise SettingsError(
            f"{what}: hybrid sharding needs several on each machine, as many on all",
            f"trainer.sharding=hybrid, LOCAL_WORLD_SIZE={here}, WORLD_SIZE={processes}",
            "write trainer.sharding=full, or start the same number of processes on every machine",
        )
    return init_device_mesh(device.type, (processes // here, here), mesh_dim_names=("copies", "shards"))


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a module in place, block by block; all processes begin with the weights of the first one.

    Its parameters are others afterwards, and on the mesh's device; names and shapes stay.

    Args:
        module: is trained, with weights on the CPU or on the device. Only itself may be called in training.
        mesh: from ``mesh_of``.

    Raises:
        SettingsError: if this version of torch cannot do it.
    """
    if not hasattr(FSDPModule, "set_reshard_after_forward"):
        raise SettingsError(
            f"torch {torch.__version__} cannot keep sharded weights together for a while",
            "setting: trainer.sharding",
            "upgrade torch, or write trainer.sharding=none",
        )
    _agree(module, torch.device(mesh.device_type))
    for block in blocks_in(module):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
        for name in getattr(block, "entries", ()):
            register_fsdp_forward_method(block, name)
    # Let go after the forward pass like a block: a validation, which has no backward pass, would leave it gathered.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)


@torch.no_grad()
def _agree(module: nn.Module, device: torch.device) -> None:
    """Give all processes the first one's weights, one after the other, so that a device never holds them all."""
    for tensor in [*module.parameters(), *module.buffers()]:
        sent = tensor.to(device)
        distributed.broadcast(sent, 0)
        tensor.copy_(sent)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Return a context in which every process has all weights of a sharded module, so that each can use it by itself.

    Gradients must be off. All processes must enter and leave it.
    """
    units = [unit for unit in module.modules() if isinstance(unit, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.set_reshard_after_forward(True, recurse=False)
            unit.reshard()
