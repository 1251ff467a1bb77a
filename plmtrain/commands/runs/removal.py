"""``plmtrain runs rm RUN...``: delete runs, after a question."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from plmtrain.console import tell
from plmtrain.errors import SettingsError, SettingsErrors, closest
from plmtrain.files import disk_errors, remove_folder, size_in_words
from plmtrain.study.run_records import RunRecord, dependents, holder_of, is_a_run, place_of, read_run, read_runs
from plmtrain.training.run_folder import RunFolder


def run(arguments: list[str]) -> int:
    """Delete the folders of some runs; all of them or, if anything speaks against one, none.

    Raises:
        SettingsErrors: for each that is not a run, is a link, or belongs to a living process.
        SettingsError: if nobody can be asked, and ``--yes`` is not given.
    """
    folders = [Path(word) for word in arguments if word != "--yes"]
    if not folders:
        raise SettingsError("runs rm needs a run", "plmtrain runs rm RUN...", "name folders below runs/")
    if errors := [problem for folder in folders if (problem := _objection(folder)) is not None]:
        raise SettingsErrors(errors)
    # Two words may name one folder.
    records = list({folder.resolve(): read_run(folder) for folder in map(_named, folders)}.values())
    size = size_in_words(sum(record.size for record in records))
    what = f"{len(records)} run{'s' if len(records) > 1 else ''}, {size}"
    tell(*map(_described, records))
    if "--yes" not in arguments and not _agreed(what):
        tell("nothing was deleted")
        return 0
    with ExitStack() as stack:
        # No process can start one of them from here on.
        for record in records:
            stack.enter_context(RunFolder(record.path).lock())
        for record in records:
            with disk_errors(record.path):
                remove_folder(record.path)
    tell(f"deleted {what}")
    return 0


def _named(folder: Path) -> Path:
    """Return a folder as it was given, or its whole path if it was given without its name, such as ``.``."""
    return folder if folder.name not in ("", "..") else folder.resolve()


def _objection(folder: Path) -> SettingsError | None:
    if folder.is_symlink():
        return SettingsError(f"{folder} is a link", f"command line: {folder}", f"name its target, {place_of(folder)}")
    if not is_a_run(folder):
        there = [record.path for record in read_runs(folder.parent)]
        close = closest(folder.name, [path.name for path in there])  # the names alone: the folders above are alike
        remedy = f"did you mean '{folder.parent / close}'?" if close else "plmtrain runs lists those below runs/"
        return SettingsError(f"{folder} is not a run: it is left alone", f"command line: {folder}", remedy)
    if (holder := holder_of(folder)) is not None:
        return SettingsError(f"{folder} is in use by {holder}", f"command line: {folder}", "stop that process first")
    return None


def _described(record: RunRecord) -> str:
    steps = "" if record.step is None else f", step {record.step:,}"
    line = f"{record.path}: {record.state}{steps}, {size_in_words(record.size)}"
    needed = dependents(record.path, read_runs(record.path.parent))
    return line + (f"; the weights that {', '.join(map(str, needed))} started or learn from" if needed else "")


def _agreed(what: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        remedy = "add --yes to delete without a question"
        raise SettingsError(f"nothing was deleted: nobody can be asked about {what}", "standard input is no terminal", remedy)
    print(f"delete {what}? [y/N] ", end="", flush=True)
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        print()
        return False
