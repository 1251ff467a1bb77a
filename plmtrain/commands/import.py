"""``plmtrain import``: a Hugging Face folder, checked and rewritten, that can be used wherever a run can."""

from __future__ import annotations

from pathlib import Path

from plmtrain.errors import SettingsError


def run(arguments: list[str]) -> int:
    """Read the folder, write it, read it back, compare, and print the result."""
    if len(arguments) != 2 or any(word.startswith("-") for word in arguments):
        remedy = "write: plmtrain import HF_FOLDER FOLDER"
        raise SettingsError("import takes a Hugging Face folder and a new folder", f"command line: {' '.join(arguments)}", remedy)
    source, target = map(Path, arguments)

    from plmtrain.console import tell, warn
    from plmtrain.interop.importing import import_folder
    from plmtrain.interop.publishing import require_free
    from plmtrain.training.restore import is_run

    require_free(target)
    if is_run(source):
        raise SettingsError("this is a run of plmtrain's", str(source), "use it as it is, or export it: plmtrain export")
    tell(f"{target}: {import_folder(source, target, warn)}")
    return 0
