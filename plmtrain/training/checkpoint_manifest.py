"""A checkpoint's manifest: a complete description of its contents.

It contains the size and the SHA-256 of each file, the run and the step that they belong to, and a hash of itself, so that a
flipped bit anywhere, a missing, added or exchanged file, and files of two steps or two runs are all detected before a tensor is
read. It needs no torch, so that ``plmtrain verify`` starts at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from plmtrain import __version__
from plmtrain.files import read_bytes, sha256
from plmtrain.json_files import parse

NAME = "manifest.json"
FORMAT = 1
_LIMIT = 2**20
"""The most bytes of a manifest that is read: a checkpoint has few files."""
_STEP_FOLDER = re.compile(r"step-([0-9]{8,})")


@dataclass(frozen=True)
class Identity:
    """The origin of a checkpoint.

    Args:
        run_id: the run; a checkpoint of another run is never used.
        settings_hash: the settings that it was written with; a resume may change them (``resume.allow``).
        tokenizer_digest: of everything that determines its token ids.
        data_digest: of the prepared data that it was trained on.
        teacher_digest: of the weights of the model that it learns from; empty without a teacher.
    """

    run_id: str
    settings_hash: str = ""
    tokenizer_digest: str = ""
    data_digest: str = ""
    teacher_digest: str = ""


@dataclass(frozen=True)
class CheckpointManifest:
    """The contents of a checkpoint.

    Args:
        step: steps that were done when it was saved.
        identity: its origin.
        files: the size in bytes and the SHA-256 of each file, by name.
        versions: of Python and the libraries that wrote it.
    """

    step: int
    identity: Identity
    files: Mapping[str, tuple[int, str]]
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the canonical form of this manifest; any other form is damage."""
        return _spell(
            {
                "format": FORMAT,
                "step": self.step,
                **asdict(self.identity),
                "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in self.files.items()},
                "versions": dict(self.versions),
            }
        )

    @classmethod
    def read(cls, folder: Path) -> CheckpointManifest:
        """Read a checkpoint's manifest.

        Raises:
            Damage: if it is missing, or differs in any byte from what was written.
        """
        path = folder / NAME
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise Damage("not a plain file")
            if path.stat().st_size > _LIMIT:
                raise Damage("too large for a manifest")
            data = read_bytes(path)
        except FileNotFoundError:
            raise Damage("missing") from None
        except OSError as error:
            raise Damage(f"cannot be read: {error.strerror}") from error
        try:
            content = parse(data)
            stated = content.pop("manifest_sha256")
            intact = data == _spell(content) and stated == _hash(content) and isinstance(content["step"], int)
            if intact and content["format"] > FORMAT:
                raise Damage(f"written by a newer version of plmtrain ({content['versions'].get('plmtrain', 'unknown')})")
            manifest = cls(
                step=content["step"],
                identity=Identity(
                    run_id=content["run_id"],
                    settings_hash=content["settings_hash"],
                    tokenizer_digest=content["tokenizer_digest"],
                    data_digest=content["data_digest"],
                    teacher_digest=content.get("teacher_digest", ""),  # missing in those of version 0.1
                ),
                files={name: (entry["size"], entry["sha256"]) for name, entry in content["files"].items()},
                versions=content["versions"],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            raise Damage("content changed")
        return manifest


class Damage(Exception):
    """Something in a checkpoint is not as it was written."""


@dataclass(frozen=True)
class Verdict:
    """The result of checking a checkpoint's folder.

    Args:
        folder: the checkpoint.
        manifest: its manifest, if that is intact.
        files: each file that exists or should exist, with its damage; None for none.
    """

    folder: Path
    manifest: CheckpointManifest | None
    files: Mapping[str, str | None]

    @property
    def damage(self) -> list[str]:
        """Each damaged file with its damage."""
        return [f"{name} ({problem})" for name, problem in self.files.items() if problem is not None]


def step_folders(folder: Path) -> dict[int, Path]:
    """Return the checkpoints' folders by step, ascending, whatever their state."""
    if not folder.is_dir():
        return {}
    folders = {}
    for path in folder.iterdir():
        if (match := _STEP_FOLDER.fullmatch(path.name)) and path.is_dir() and path.name == folder_name(int(match[1])):
            folders[int(match[1])] = path
    return dict(sorted(folders.items()))


def folder_name(step: int) -> str:
    """Return the name of the checkpoint after a step."""
    return f"step-{step:08d}"


def check_checkpoint(folder: Path, run_id: str | None = None, *, content: bool = True) -> Verdict:
    """Compare a checkpoint's folder with its manifest.

    Args:
        folder: the checkpoint.
        run_id: the run that it must belong to, if known.
        content: whether every byte is hashed, or only names and sizes are compared.
    """
    try:
        present = {entry.name: entry for entry in os.scandir(folder)}
    except OSError as error:
        return Verdict(folder, None, {NAME: f"the folder cannot be read: {error.strerror}"})
    try:
        manifest = CheckpointManifest.read(folder)
    except Damage as damage:
        return Verdict(folder, None, {NAME: str(damage)})
    files: dict[str, str | None] = {NAME: _belongs(manifest, folder, run_id)}
    sound = []
    for name, (size, _) in manifest.files.items():
        entry = present.get(name)
        if entry is None:
            files[name] = "missing"
        elif not entry.is_file(follow_symlinks=False):
            files[name] = "not a plain file"
        elif (actual := entry.stat().st_size) != size:
            files[name] = f"{actual} bytes instead of {size}"
        else:
            files[name] = None
            sound.append(name)
    for name in sorted(present.keys() - manifest.files.keys() - {NAME}):
        files[name] = "does not belong here"
    if content and sound:
        with ThreadPoolExecutor(min(len(sound), os.cpu_count() or 1, 4)) as pool:
            files.update(zip(sound, pool.map(lambda name: _content(folder / name, manifest.files[name][1]), sound), strict=True))
    return Verdict(folder, manifest, files)


def _belongs(manifest: CheckpointManifest, folder: Path, run_id: str | None) -> str | None:
    if run_id is not None and manifest.identity.run_id != run_id:
        return f"belongs to another run ({manifest.identity.run_id})"
    if folder_name(manifest.step) != folder.name:
        return f"belongs to another step ({manifest.step})"
    return None


def _content(path: Path, expected: str) -> str | None:
    try:
        return None if sha256(path) == expected else "content changed"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


@cache
def versions() -> Mapping[str, str]:
    """Return the versions that a result may depend on, by name; libraries are not imported for this."""
    numbers = {"plmtrain": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in ("torch", "numpy", "accelerate", "tokenizers", "safetensors"):
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "none"
    return numbers


def _spell(content: Mapping[str, Any]) -> bytes:
    whole = {**content, "manifest_sha256": _hash(content)}
    return (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
