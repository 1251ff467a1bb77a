"""The processes that train together, through Accelerate: device, wrapping, sums over all."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from plmtrain import stopping
from plmtrain.errors import SettingsError

if TYPE_CHECKING:
    from accelerate import Accelerator


class Group:
    """One process's view of all of them.

    Args:
        device: ``auto`` for a GPU where there is one.
        timeout: seconds to wait for another process before the run fails.
        threads: threads of this process on a CPU; its share of the cores if None.

    Raises:
        SettingsError: if a GPU is asked for by name and there is none.
    """

    def __init__(self, device: Literal["auto", "cpu", "cuda"], timeout: float, threads: int | None) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

        on_cpu = device == "cpu" or not torch.cuda.is_available()
        if on_cpu and device == "cuda":
            raise SettingsError(
                "there is no GPU that torch can use", "trainer.device=cuda", "check the driver, or write trainer.device=auto"
            )
        self.accelerator: Accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="no",  # precision is the step's own business: see training.step
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True),
                InitProcessGroupKwargs(timeout=timedelta(seconds=timeout)),
            ],
        )
        self.rank: int = self.accelerator.process_index
        self.size: int = self.accelerator.num_processes
        self.device: torch.device = self.accelerator.device
        self.is_main = self.rank == 0
        if on_cpu:
            local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
            # torchrun sets one thread a process; a core left idle is worse.
            torch.set_num_threads(threads or max(1, len(os.sched_getaffinity(0)) // local_size))

    def wrap(self, module: nn.Module, whole: bool = True) -> nn.Module:
        """The module on the device, with gradients averaged over the group where there is one.

        Args:
            module: to be wrapped.
            whole: whether each step uses all parameters. Else those that a step does not use are looked for, and have no
                gradient in any process.
        """
        if self.accelerator.ddp_handler is not None:
            self.accelerator.ddp_handler.find_unused_parameters = not whole
        wrapped: nn.Module = self.accelerator.prepare_model(module)
        return wrapped

    def unwrapped(self, module: nn.Module) -> nn.Module:
        """Return the module that was handed to ``wrap``."""
        inner: nn.Module = self.accelerator.unwrap_model(module)
        return inner

    def local_gradients(self, module: nn.Module) -> AbstractContextManager[None]:
        """Inside, gradients are accumulated here and not sent to the others."""
        context: AbstractContextManager[None] = self.accelerator.no_sync(module) if self.size > 1 else nullcontext()
        return context

    def sum(self, numbers: Tensor) -> Tensor:
        """The numbers of all processes, added up."""
        if self.size == 1:
            return numbers
        total: Tensor = self.accelerator.reduce(numbers, reduction="sum")
        return total

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks.  # [rows * size, ...]"""
        if self.size == 1:
            return rows
        everyone: Tensor = self.accelerator.gather(rows)
        return everyone

    def gather_json(self, values: Sequence[Any]) -> list[Any]:
        """The JSON values of all processes, in the order of their ranks; as many of them, and as long, as each likes."""
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
        """Wait until every process is here."""
        self.accelerator.wait_for_everyone()

    def anyone_asked_to_stop(self) -> bool:
        """Whether a signal reached any process, the same answer in all of them."""
        asked = stopping.asked() is not None
        if self.size == 1:
            return asked
        return bool(self.sum(torch.tensor(float(asked), device=self.device)).item())

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1:
            self.accelerator.end_training()
