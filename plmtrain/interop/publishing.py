"""Writing a model as a Hugging Face folder that appears complete and verified, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plmtrain.errors import CheckpointError, SettingsError
from plmtrain.faults import fault_point
from plmtrain.files import atomic_folder, clear_leftovers_of
from plmtrain.interop import foreign, task_file
from plmtrain.interop.hugging_face import Saved
from plmtrain.interop.model import Model, called
from plmtrain.interop.pad_positions import counted_from
from plmtrain.interop.row_templates import framed_for, verify_frames
from plmtrain.interop.verification import verify
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.stopping import safe_point
from plmtrain.text.tokenizer import Tokenizer

CARD = "README.md"


@dataclass(frozen=True)
class PublishedFolder:
    """A folder that was written.

    Args:
        saved: how the model was saved in it.
        difference: the largest difference between the outputs of the model and of its files.
        tolerance: the largest difference that is allowed.
    """

    saved: Saved
    difference: float
    tolerance: float

    def __str__(self) -> str:
        saved = self.saved
        left_out = "".join(f", without {called(kind)}, for which it has no place" for kind in saved.left_out)
        beside = "".join(f", and {called(kind)} by its authors' names, which it does not read" for kind in saved.beside)
        return (
            f"{saved.architecture}{left_out}{beside}; read back, it computes the same (largest difference {self.difference:.1e})"
        )


def require_free(target: Path) -> None:
    """Refuse a path that is in use.

    Raises:
        SettingsError: if something exists there.
    """
    taken = target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir())))
    if taken:
        raise SettingsError("something exists at this path already", str(target), "name a folder that does not exist yet")


def publish(
    target: Path,
    model: Model,
    tokenizer: Tokenizer | None,
    roles: Mapping[str, int],
    describe: Callable[[PublishedFolder], str],
    task: TaskSettings | None = None,
    sequence_length: int | None = None,
) -> PublishedFolder:
    """Write a model, read it back, compare, and only then let the folder appear.

    Args:
        target: the folder; nothing or an empty folder may exist there.
        model: in eval mode.
        tokenizer: its tokenizer, if it has one.
        roles: the id of each special token by its role.
        describe: returns the text of README.md.
        task: what a classifier reads and answers, for ``plmtrain.json``.
        sequence_length: the tokens of a row that it was trained on, for the same file; None if unknown.

    Raises:
        SettingsError: if the path is in use, or transformers has no class that computes the same as the model.
        CheckpointError: if the files differ from the model.
        DiskError: if the disk refuses.
    """
    require_free(target)
    clear_leftovers_of(target)
    tolerance = foreign.tolerance(model)

    def remove_empty_target() -> None:
        if target.exists():
            target.rmdir()  # refused by the system if it is no longer empty

    with atomic_folder(target, before_rename=remove_empty_target) as folder:
        written = counted_from(model, roles.get("pad"))
        saved = foreign.save(folder, written, roles)
        if task is not None:
            task_file.write(folder, task, sequence_length)
        if tokenizer is not None:
            framed_for(tokenizer, model.settings).save(folder, model_max_length=model.settings.positions)
        fault_point("export")
        safe_point()
        difference = verify(foreign.read(folder), written, model, roles.get("pad", 0), tolerance, str(target))
        if tokenizer is not None:
            again = Tokenizer.load(folder)
            if again.digest != tokenizer.digest:
                raise CheckpointError("the tokenizer changed when it was written", str(target), "the folder was removed")
            verify_frames(again, model.settings, str(target))
        safe_point()
        published = PublishedFolder(saved, difference, tolerance)
        (folder / CARD).write_text(describe(published), encoding="utf-8", newline="\n")
    return published
