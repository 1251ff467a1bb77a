"""``plmtrain export``: a run, or an imported folder, as a folder that transformers loads."""

from __future__ import annotations

from pathlib import Path

from plmtrain.errors import SettingsError


def run(arguments: list[str]) -> int:
    """Write the folder, read it back, compare, and print the result."""
    parts = [word.removeprefix("part=") for word in arguments if word.startswith("part=")]
    words = [word for word in arguments if not word.startswith("part=")]
    if len(words) != 2 or len(parts) > 1 or any(word.startswith("-") for word in words):
        remedy = "write: plmtrain export RUN HF_FOLDER [part=generator]"
        raise SettingsError("export takes a run and a new folder", f"command line: {' '.join(arguments)}", remedy)
    source, target = map(Path, words)

    from plmtrain.console import tell, warn
    from plmtrain.interop.exporting import export
    from plmtrain.interop.foreign import is_model
    from plmtrain.interop.importing import import_folder
    from plmtrain.interop.publishing import require_free
    from plmtrain.training.restore import is_run, load_run

    require_free(target)
    if is_run(source) or not is_model(source):
        published = export(load_run(source, report=warn), target, *parts)
    elif parts:
        raise SettingsError("a Hugging Face folder has no parts", f"command line: part={parts[0]}", "omit it")
    else:
        published = import_folder(source, target, warn)
    tell(f"{target}: {published}")
    return 0
