"""The machine: its processor, memory, GPUs and disk."""

from __future__ import annotations

import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

import torch

from plmtrain import limits
from plmtrain.commands.doctor.diagnosis import Diagnosis
from plmtrain.console import counted
from plmtrain.files import free_bytes, size_in_words
from plmtrain.nn.bf16_products import cpu_abilities

_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX",
    "sve": "SVE",
    "bf16": "bf16 of ARM",
    "sve_bf16": "bf16 of SVE",
}
"""The instructions that matter to matrix products, by torch's keys."""

_LITTLE_MEMORY = 2 * 1024**3
_LITTLE_DISK = 5 * 1024**3


def machine() -> Diagnosis:
    """Return what the machine has, and what of it this process may use."""
    part = Diagnosis("machine", "this machine has")
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    part.fact("system", system, system=system)
    _processor(part)
    _memory(part)
    _gpus(part)
    _disk(part)
    return part


def _processor(part: Diagnosis) -> None:
    able = cpu_abilities()
    cores, all_cores = limits.cores(), os.cpu_count() or 1
    name = str(able.get("cpu_name") or platform.processor() or platform.machine())
    part.fact(
        "processor",
        f"{name}, {counted(cores, 'core')}" + (f" of {all_cores} for this process" if cores < all_cores else ""),
        processor=name,
        cores=cores,
        all_cores=all_cores,
    )
    known = [said for key, said in _INSTRUCTIONS.items() if able.get(key)]
    part.fact("instructions", ", ".join(known) or "none that torch tells of", instructions=known)
    with suppress(OSError):
        busy = os.getloadavg()[0]
        part.fact("load", f"{busy:.1f} processes at work in the last minute", load=busy)
        if busy > 1.5 * all_cores:
            part.advice.append(
                f"{busy:.1f} processes share {counted(all_cores, 'core')}: a run is slower than the rates below; "
                "lower trainer.threads to leave cores free"
            )


def _memory(part: Diagnosis) -> None:
    left = limits.memory()
    part.fact("memory", "unknown" if left is None else f"{size_in_words(left)} available", memory_left=left)
    if left is not None and left < _LITTLE_MEMORY:
        part.advice.append(
            f"only {size_in_words(left)} of memory is available: plmtrain check ... tells what a run needs, and "
            "trainer.micro_batch_size=auto takes the largest micro-batch that fits"
        )


def _gpus(part: Diagnosis) -> None:
    try:
        gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    except (RuntimeError, AssertionError) as error:  # of the driver
        part.fact("GPUs", "cannot be asked", gpus=None)
        part.advice.append(f"the GPU's driver fails ({str(error).splitlines()[0]}): nvidia-smi shows its state")
        return
    said = [f"{gpu.name}, {size_in_words(gpu.total_memory)}, compute capability {gpu.major}.{gpu.minor}" for gpu in gpus]
    part.fact("GPUs", "; ".join(said) or "none that torch can use", gpus=said)
    if not gpus and shutil.which("nvidia-smi"):
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        part.advice.append(f"there is an NVIDIA driver, but torch, {built}, sees no GPU: install a torch that fits the driver")


def _disk(part: Diagnosis) -> None:
    folder = Path.cwd()
    left, writable = free_bytes(folder), os.access(folder, os.W_OK | os.X_OK)
    free = "unknown" if left is None else f"{size_in_words(left)} free in {folder}"
    part.fact("disk", free + ("" if writable else ", which you may not write to"), disk_left=left, writable=writable)
    if not writable:
        part.advice.append(f"{folder} cannot be written to: change to another folder, or give runs_dir= and data.prepared_dir=")
    if left is not None and left < _LITTLE_DISK:
        part.advice.append(
            f"only {size_in_words(left)} is free in {folder}: runs_dir= and data.prepared_dir= name other places, "
            "and plmtrain runs rm deletes runs"
        )
