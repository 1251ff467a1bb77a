"""Checkpoints that survive a crash at any moment and are never trusted without being checked.

A checkpoint is a folder of safetensors and JSON that appears complete or not at all; only then are older ones removed. The newest
is computed, never pointed to: it is the newest one whose every byte matches its manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.errors import CheckpointError, DiskError
from plmtrain.faults import fault_point
from plmtrain.files import (
    atomic_folder,
    clear_leftovers,
    disk_errors,
    free_bytes,
    fsync,
    make_folder,
    read_text,
    remove_folder,
    size_in_words,
    temporary_name,
    write_json_atomically,
)
from plmtrain.json_files import DamagedJson, read_record
from plmtrain.training import checkpoint_manifest as manifests
from plmtrain.training.checkpoint_manifest import (
    CheckpointManifest,
    Identity,
    Verdict,
    check_checkpoint,
    folder_name,
    step_folders,
    versions,
)
from plmtrain.training.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

PROGRESS = "progress.json"
JOURNAL = "checkpoints.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every byte matches its manifest."""

    path: Path
    manifest: CheckpointManifest
    progress: Progress

    @property
    def step(self) -> int:
        """Steps that were done."""
        return self.manifest.step

    @property
    def identity(self) -> Identity:
        """The run and the settings that it belongs to."""
        return self.manifest.identity

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of tensors that it has."""
        return tuple(sorted(Path(name).stem for name in self.manifest.files if name.endswith(".safetensors")))

    def load(self, group: str) -> dict[str, Tensor]:
        """Return the tensors of a group (``model``, ``optimizer``, ``carry``) on the CPU; none if it was saved without any.

        Raises:
            CheckpointError: if the file is not a safetensors file.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if group not in self.groups:
            return {}
        path = self.path / f"{group}.safetensors"
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path.name} cannot be read: {error}", str(path), "plmtrain verify names the damaged files"
            ) from error


@dataclass(frozen=True)
class Journal:
    """A run's record of its last save, beside the checkpoints' folder: if that is gone, it still tells that something was saved.

    Args:
        run_id: the run; None if the journal is damaged.
        last_step: the newest checkpoint's step; None if the journal is damaged.
        best_step: the best checkpoint's step, if there is a best one.
    """

    run_id: str | None = None
    last_step: int | None = None
    best_step: int | None = None

    def write(self, folder: Path) -> None:
        """Write it into a run's folder."""
        write_json_atomically(folder / JOURNAL, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Journal | None:
        """Read a run's journal; None if nothing was ever saved."""
        try:
            journal = read_record(folder / JOURNAL, cls)
        except FileNotFoundError:
            return None
        except DamagedJson:
            return cls()
        return journal if isinstance(journal.last_step, int) and isinstance(journal.run_id, str) else cls()

    def missing(self, steps: Collection[int]) -> str | None:
        """Return the newest checkpoint's folder if it was saved, and neither it nor a newer one is among these steps."""
        if self.last_step is None or any(step >= self.last_step for step in steps):
            return None
        return folder_name(self.last_step)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: the checkpoints' folder, ``checkpoints/`` in the run's folder.
        keep: how many of the newest are kept; the best one and the one resumed from are kept as well.
        identity: the identity of new ones, and the run that old ones must belong to. Without it nothing can be saved, and the
            run is the one that the journal names.
        flushed_first: files that must not be older on the disk than a checkpoint (the metrics up to its step).
        permitted: raises an error if the run may no longer be written to.
        milestones: the steps whose checkpoints are kept for ever.
        token_milestones: the numbers of tokens, of each of which the first checkpoint that has read so many is kept for ever.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 1,
        identity: Identity | None = None,
        flushed_first: Sequence[Path] = (),
        permitted: Callable[[], None] = lambda: None,
        milestones: Collection[int] = (),
        token_milestones: Collection[int] = (),
    ) -> None:
        self.folder = folder
        self._flushed_first = flushed_first
        self._permitted = permitted
        self._keep = keep
        self._milestones = frozenset(milestones)
        self._token_milestones = frozenset(token_milestones)
        self._identity = identity
        self._damaged: set[int] = set()
        self._resumed_from: int | None = None

    def _run_id(self) -> str | None:
        if self._identity is not None:
            return self._identity.run_id
        journal = Journal.read(self.folder.parent)
        return journal.run_id if journal else None

    def clear_leftovers(self) -> list[str]:
        """Remove the leftovers of a killed writer here and in the run's folder, and return their names.

        Only for the holder of the run's lock.
        """
        run = self.folder.parent
        places = [run, *(place for place in run.iterdir() if place.is_dir())] if run.is_dir() else []
        with disk_errors(self.folder):
            return [name for place in places for name in clear_leftovers(place)]

    def require_space(self, needed: int) -> None:
        """Check before the training whether a checkpoint can be written.

        Args:
            needed: bytes that must be free.

        Raises:
            DiskError: if there is no room, or the folder cannot be written to.
        """
        make_folder(self.folder)
        probe = temporary_name(self.folder / "probe")
        with disk_errors(self.folder):
            probe.touch()
            probe.unlink()
        free = free_bytes(self.folder)
        if free is not None and free < needed:
            raise DiskError(
                f"there is no room for checkpoints: {size_in_words(needed)} needed, {size_in_words(free)} free",
                str(self.folder),
                "free some space, lower trainer.keep, or choose another runs_dir",
            )

    def save(
        self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], progress: Progress, best_step: int | None = None
    ) -> Path:
        """Write a checkpoint, and remove older ones once it is on the disk under its name.

        Args:
            step: steps that are done.
            tensors: by group, tensors by name; a group without tensors gets no file.
            progress: the record that belongs to them.
            best_step: the step of the best checkpoint, which is kept.

        Returns:
            The checkpoint's folder.

        Raises:
            DiskError: if the disk refuses. Earlier checkpoints are unchanged, and nothing half-written remains.
        """
        from plmtrain.training import tensor_file

        assert self._identity is not None
        assert progress.step == step
        self._permitted()
        target = self.folder / folder_name(step)
        if not self.folder.parent.is_dir():
            raise DiskError("the run's folder is gone", str(self.folder.parent), "restore it, or start again under another name=")
        needed = sum(tensor_file.byte_size(group) for group in tensors.values())

        def before_rename() -> None:
            for path in self._flushed_first:
                if path.exists():
                    fsync(path)
            fault_point("save.rename", step)

        _fault_under(target, "save.open", step)
        with atomic_folder(target, needed=needed, replace=True, before_rename=before_rename) as folder:
            files = {}
            for group, named in tensors.items():
                if named:
                    name = f"{group}.safetensors"
                    files[name] = tensor_file.write(folder / name, named, lambda: fault_point("save.write", step))
            record = progress.to_json().encode()
            (folder / PROGRESS).write_bytes(record)
            files[PROGRESS] = (len(record), hashlib.sha256(record).hexdigest())
            manifest = CheckpointManifest(step, self._identity, files, versions())
            (folder / manifests.NAME).write_bytes(manifest.to_bytes())
            fault_point("save.fsync", step)
        self._damaged.discard(step)
        _fault_under(target, "save.latest", step)
        Journal(self._identity.run_id, step, best_step).write(self.folder.parent)
        self._remove_old(step, best_step)
        return target

    def _remove_old(self, step: int, best_step: int | None) -> None:
        """Remove checkpoints that are not among the newest complete ones, nor the best, a milestone or the one resumed from."""
        ours: dict[int, Path] = {}
        complete = []
        for at, folder in step_folders(self.folder).items():
            # Contents were hashed when they were written or resumed from; here names and sizes suffice.
            verdict = check_checkpoint(folder, self._run_id(), content=False)
            if verdict.manifest is None or verdict.files[manifests.NAME] is not None or folder.is_symlink():
                continue
            ours[at] = folder
            if not verdict.damage and at not in self._damaged:
                complete.append(at)
        first_with_tokens = self._first_with_tokens({at: ours[at] for at in complete})
        kept = {step, best_step, self._resumed_from, *self._milestones, *first_with_tokens, *complete[-self._keep :]}
        for at, folder in ours.items():
            if at not in kept:
                _fault_under(folder, "save.retention", step)
                with disk_errors(folder):
                    remove_folder(folder)

    def _first_with_tokens(self, folders: Mapping[int, Path]) -> set[int]:
        """Return the step of the first checkpoint that has read as many tokens as each of ``token_milestones``.

        Args:
            folders: of complete checkpoints, by step, in order.
        """
        if not self._token_milestones:
            return set()
        read = {}
        for at, folder in folders.items():
            with suppress(CheckpointError, OSError, ValueError):  # damaged since its size was looked at
                read[at] = Progress.from_json(read_text(folder / PROGRESS)).tokens
        steps = {next((at for at, tokens in read.items() if tokens >= wanted), None) for wanted in self._token_milestones}
        return {step for step in steps if step is not None}

    def newest(self, strict: bool = False, report: Callable[[str], None] = lambda line: None) -> Checkpoint | None:
        """Return the newest checkpoint whose every byte matches its manifest.

        Args:
            strict: whether a damaged one ends the search instead of being skipped.
            report: called with each damaged one and what is wrong with it.

        Returns:
            The checkpoint; None only if none was ever saved.

        Raises:
            CheckpointError: if there are or were checkpoints but none is usable, or if ``strict`` and the newest is damaged.
        """
        tried = []
        journal = Journal.read(self.folder.parent)
        folders = step_folders(self.folder)
        if journal is not None and (gone := journal.missing(folders)):
            tried.append(f"{gone}: the folder is gone")
        for step, folder in [] if strict and tried else [*reversed(folders.items())]:
            opened = self._open(folder)
            if isinstance(opened, Checkpoint):
                for line in tried:
                    report(f"skipped {line}")
                self._resumed_from = step
                return opened
            self._damaged.add(step)
            tried.append(f"{folder.name}: {', '.join(opened.damage)}")
            if strict:
                break
        if not tried and journal is None:
            return None
        what = "a checkpoint is damaged, and resume.strict forbids skipping it" if strict and tried else "no usable checkpoint"
        raise CheckpointError(
            what,
            f"{self.folder}: " + ("; ".join(tried) or "they were removed"),
            "restore it from a copy, or start again under another name=",
        )

    def at(self, step: int) -> Checkpoint:
        """Return the checkpoint after a step.

        Raises:
            CheckpointError: if there is none, or if it is damaged.
        """
        folders = step_folders(self.folder)
        if step not in folders:
            there = ", ".join(map(str, folders)) or "none"
            raise CheckpointError(f"there is no checkpoint after step {step}", str(self.folder), f"there are: {there}")
        opened = self._open(folders[step])
        if isinstance(opened, Verdict):
            raise CheckpointError(
                f"{opened.folder.name} is damaged: {', '.join(opened.damage)}", str(opened.folder), "use another one"
            )
        return opened

    def _open(self, folder: Path) -> Checkpoint | Verdict:
        """Return a checkpoint if all of it is intact, otherwise what is wrong with it."""
        verdict = check_checkpoint(folder, self._run_id())
        if verdict.damage or verdict.manifest is None:
            return verdict
        try:
            progress = Progress.from_json(read_text(folder / PROGRESS))
            if progress.step == verdict.manifest.step:
                return Checkpoint(folder, verdict.manifest, progress)
            problem = f"belongs to another step ({progress.step})"
        except (CheckpointError, OSError, ValueError) as error:
            problem = str(error).splitlines()[0]
        return Verdict(folder, verdict.manifest, {**verdict.files, PROGRESS: problem})


def _fault_under(path: Path, point: str, step: int) -> None:
    """A fault point whose simulated disk errors reach the user as real ones would."""
    with disk_errors(path):
        fault_point(point, step)
