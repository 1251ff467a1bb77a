"""Writing safetensors files, tensor by tensor.

The library's own writer needs all bytes in memory at once, refuses tensors that share storage or are not contiguous, and hides
the operating system's errors. The format (github.com/huggingface/safetensors, "Format") is eight bytes of header length, a JSON
header, and the tensors without gaps. For reading the library is used, which checks all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
}


def byte_size(tensors: Mapping[str, Tensor]) -> int:
    """Return the bytes of the tensors' values."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def write(path: Path, tensors: Mapping[str, Tensor], half_way: Callable[[], None] | None = None) -> tuple[int, str]:
    """Write tensors from any device into a safetensors file, and flush it to the disk.

    Tensors that share storage are each written in full. Equal tensors give equal bytes, whatever their order.

    Args:
        path: a file that does not exist yet.
        tensors: the tensors by name.
        half_way: called when half of the tensors are written.

    Returns:
        The file's size in bytes and its SHA-256, computed while writing.

    Raises:
        OSError: from the operating system, unchanged.
    """
    # Wide types first, so that every tensor begins at a multiple of its element size, as with the library's own writer.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        begin, end = end, end + byte_size({name: tensors[name]})
        header[name] = {"dtype": _DTYPES[tensors[name].dtype], "shape": list(tensors[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("xb") as file, ThreadPoolExecutor(1) as hasher:
        begin_of_file = len(text).to_bytes(8, "little") + text
        file.write(begin_of_file)
        digest.update(begin_of_file)
        for index, name in enumerate(names):
            if half_way is not None and index == len(names) // 2:
                file.flush()
                half_way()
            values = tensors[name].detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy()
            hashed = hasher.submit(digest.update, values.data)  # hashing and writing both release the interpreter's lock
            file.write(values.data)
            hashed.result()
        file.flush()
        os.fsync(file.fileno())
    return 8 + len(text) + end, digest.hexdigest()
