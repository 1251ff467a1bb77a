"""The processes that train together, through Accelerate: device, wrapping, sums over all processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from plmtrain import limits, stopping
from plmtrain.errors import SettingsError
from plmtrain.optim.shards import whole
from plmtrain.settings.trainer import Sharding

if TYPE_CHECKING:
    from accelerate import Accelerator


_OTHER_WRAPPING = {
    "ACCELERATE_USE_FSDP": "--use_fsdp",
    "ACCELERATE_USE_DEEPSPEED": "--use_deepspeed",
    "ACCELERATE_USE_MEGATRON_LM": "--use_megatron_lm",
}
"""The variables with which ``accelerate launch`` asks for another way to train together, and its options for them."""


class Group:
    """The group of training processes, as one of them sees it.

    Args:
        device: ``auto`` for a GPU if there is one.
        timeout: seconds to wait for another process before the run fails.
        threads: threads of this process on a CPU; its share of the cores if None.
        sharding: how the weights of what is trained are divided among several processes.

    Raises:
        SettingsError: if a GPU is requested by name and there is none, or Accelerate was told to wrap the model in another way.
    """

    def __init__(
        self, device: Literal["auto", "cpu", "cuda"], timeout: float, threads: int | None, sharding: Sharding = "none"
    ) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

        _refuse_other_wrapping()
        on_cpu = device == "cpu" or not torch.cuda.is_available()
        if on_cpu and device == "cuda":
            raise SettingsError(
                "there is no GPU that torch can use", "trainer.device=cuda", "check the driver, or write trainer.device=auto"
            )
        self.accelerator: Accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="no",  # precision is handled by the step: see training.step
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True),
                InitProcessGroupKwargs(timeout=timedelta(seconds=timeout)),
            ],
        )
        self.rank: int = self.accelerator.process_index
        self.size: int = self.accelerator.num_processes
        self.device: torch.device = self.accelerator.device
        self.is_main = self.rank == 0
        self.sharding: Sharding = sharding if self.size > 1 else "none"
        if on_cpu:
            local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
            # torchrun sets one thread for each process, which would leave cores idle.
            torch.set_num_threads(threads or max(1, limits.cores() // local_size))

    def wrap(self, module: nn.Module, whole_steps: bool = True) -> nn.Module:
        """Return the module on the device, with gradients averaged over the group if there is one.

        Args:
            module: the module to wrap. If it is sharded, its parameters are others afterwards.
            whole_steps: whether each step uses all parameters. Otherwise DDP searches for those that a step does not use, which
                get no gradient in any process.
        """
        if self.sharding != "none":
            from plmtrain.training import sharding

            sharding.shard(module, sharding.mesh_of(self.sharding, self.size, self.device))
            return module
        if self.accelerator.ddp_handler is not None:
            self.accelerator.ddp_handler.find_unused_parameters = not whole_steps
        # Said, since Accelerate would otherwise load torch's sharded tensors, for a second, to see whether there are any.
        wrapped: nn.Module = self.accelerator.prepare_model(module, device_placement=True)
        return wrapped

    @property
    def holders(self) -> int:
        """The number of processes that hold a copy of the weights among them."""
        if self.sharding == "none":
            return 1
        return self.size if self.sharding == "full" else int(os.environ.get("LOCAL_WORLD_SIZE", self.size))

    def unwrapped(self, module: nn.Module) -> nn.Module:
        """Return the module that was handed to ``wrap``."""
        inner: nn.Module = module if self.sharding != "none" else self.accelerator.unwrap_model(module)
        return inner

    def local_gradients(self, module: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which gradients are accumulated locally and not sent to the other processes.

        Sharded ones are sent all the same: no process has room for whole gradients.
        """
        alone = self.size == 1 or self.sharding != "none"
        context: AbstractContextManager[None] = nullcontext() if alone else self.accelerator.no_sync(module)
        return context

    def gathered(self, module: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which this process can use a wrapped module's parts by itself, whatever the others do meanwhile.

        Gradients must be off. All processes must enter and leave it.
        """
        if self.sharding == "none":
            return nullcontext()
        from plmtrain.training import sharding

        return sharding.gathered(module)

    def collected(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors for the main process to write; all processes must call it.

        Sharded ones are gathered one by one, and only the main process keeps them, on the CPU.
        """
        if self.sharding == "none":
            return dict(tensors)
        gathered = ((name, whole(tensor.detach())) for name, tensor in tensors.items())
        return {name: tensor.cpu() for name, tensor in gathered if self.is_main}

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sum of the numbers over all processes."""
        if self.size == 1:
            return numbers
        total: Tensor = self.accelerator.reduce(numbers, reduction="sum")
        return total

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, in the order of their ranks.  # [rows * size, ...]"""
        if self.size == 1:
            return rows
        everyone: Tensor = self.accelerator.gather(rows)
        return everyone

    def gather_json(self, values: Sequence[Any]) -> list[Any]:
        """Return the JSON values of all processes, in the order of their ranks; each may pass any number of values."""
        if self.size == 1:
            return list(values)
        text = torch.frombuffer(bytearray(json.dumps(list(values)).encode()), dtype=torch.uint8).to(self.device)
        lengths = self.gather(torch.tensor([len(text)], device=self.device)).tolist()
        padded = torch.zeros(max(lengths), dtype=torch.uint8, device=self.device)
        padded[: len(text)] = text
        everyone = torch.split(self.gather(padded).cpu(), max(lengths))
        whole = [bytes(part[:length].tolist()) for part, length in zip(everyone, lengths, strict=True)]
        return [value for part in whole for value in json.loads(part)]

    def wait(self) -> None:
        """Wait for all processes of the group."""
        self.accelerator.wait_for_everyone()

    def anyone(self, *flags: bool) -> list[bool]:
        """Return whether each flag is set in any process; the answer is the same in all of them."""
        if self.size == 1:
            return list(flags)
        return [count > 0 for count in self.sum(torch.tensor([float(flag) for flag in flags], device=self.device)).tolist()]

    def anyone_asked_to_stop(self) -> bool:
        """Return whether a signal that requests a stop reached any process."""
        return self.anyone(stopping.requested() is not None)[0]

    def close(self) -> None:
        """Leave the group; first, whoever keeps a wrapped module must let it go (``unwrapped``).

        A wrapper that outlives the group ends its threads when it is freed, holding Python's lock, for which they may wait.
        """
        if self.size > 1:
            self.accelerator.free_memory()
            self.accelerator.end_training()


def _refuse_other_wrapping() -> None:
    """Refuse what ``accelerate launch`` can ask for and plmtrain does by itself.

    Raises:
        SettingsError: if it did.
    """
    for variable, option in _OTHER_WRAPPING.items():
        if os.environ.get(variable, "false").lower() in ("true", "1"):
            raise SettingsError(
                f"accelerate was launched with {option}, and plmtrain shards the model itself",
                f"environment: {variable}={os.environ[variable]}",
                f"launch without {option} and its configuration, and write trainer.sharding=full",
            )
