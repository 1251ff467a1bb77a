"""metrics.jsonl: one JSON object a line, each step once, however often the run was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from plmtrain.files import disk_errors, read_bytes, write_bytes_atomically
from plmtrain.json_files import DamagedJson, parse
from plmtrain.training.progress import decode_floats, encode_floats


class MetricsLog:
    """Measurements, line by line.

    Numbers that are not finite are written as the strings ``nan``, ``inf`` and ``-inf``, which ``float`` reads.

    Args:
        path: the file; it is created by the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a line; when this returns, the operating system has it, so that it survives a crash of this process.

        Raises:
            DiskError: if the disk refuses.
        """
        line = json.dumps(encode_floats(dict(record)), ensure_ascii=False, allow_nan=False) + "\n"
        with disk_errors(self.path, len(line)):
            if self._file is None:
                self._cut_half_line()
                self._file = self.path.open("ab", buffering=0)
            self._file.write(line.encode())

    def keep_until(self, step: int) -> None:
        """Remove what was measured after a step, and a truncated last line: a resumed run measures it again."""
        self.close()
        if not self.path.exists():
            return
        with disk_errors(self.path):
            old = read_bytes(self.path)
            new = b"".join(line for line, record in _lines(old) if _step(record) <= step)
            if new != old:
                write_bytes_atomically(self.path, new)

    def records(self) -> Iterator[dict[str, Any]]:
        """Every line, oldest first."""
        if self.path.exists():
            with disk_errors(self.path):
                content = read_bytes(self.path)
            for _, record in _lines(content):
                yield record

    def validation(self, step: int) -> dict[str, float]:
        """Return the measures of the validation at a step, without ``val/``; empty if there is none."""
        for record in self.records():
            if record.get("step") == step and any(key.startswith("val/") for key in record):
                return {key.removeprefix("val/"): value for key, value in record.items() if key.startswith("val/")}
        return {}

    def _cut_half_line(self) -> None:
        """Remove a truncated last line, whose writer died while writing it; nothing may be appended to it."""
        if self.path.exists():
            content = read_bytes(self.path)
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) != len(content):
                write_bytes_atomically(self.path, whole)

    def close(self) -> None:
        """Close the file; the next line reopens it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _lines(content: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each complete line that is a JSON object, with its value."""
    for line in content.splitlines(keepends=True):
        try:
            record = parse(line) if line.endswith(b"\n") else None
        except DamagedJson:
            continue
        if isinstance(record, dict):
            yield line, decode_floats(record)


def _step(record: Mapping[str, Any]) -> float:
    step = record.get("step", 0)
    return step if isinstance(step, int | float) else 0
