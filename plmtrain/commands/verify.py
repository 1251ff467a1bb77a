"""``plmtrain verify RUN``: read every byte of every checkpoint and compare it with the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plmtrain.console import counted, print_json, tell
from plmtrain.errors import CheckpointError, SettingsError
from plmtrain.stopping import safe_point


def run(arguments: list[str]) -> int:
    """Print each file of each checkpoint with its state.

    Raises:
        SettingsError: if the folder is not a run.
        CheckpointError: if a file is damaged, or saved checkpoints are gone.
    """
    from plmtrain.training.checkpoint import Journal
    from plmtrain.training.checkpoint_manifest import check_checkpoint, step_folders

    words = [word for word in arguments if word != "--json"]
    if len(words) != 1:
        raise SettingsError("verify needs one run", "plmtrain verify RUN", "name a folder below runs/")
    folder = Path(words[0])
    if not (folder / "config.yaml").is_file():
        raise SettingsError(f"{folder} is not a run", f"there is no {folder / 'config.yaml'}", "name a folder below runs/")
    journal = Journal.read(folder) or Journal()
    steps = step_folders(folder / "checkpoints")
    rows: list[dict[str, Any]] = []
    for path in steps.values():
        safe_point()
        for name, problem in check_checkpoint(path, journal.run_id).files.items():
            rows.append({"checkpoint": path.name, "file": name, "problem": problem})
            if "--json" not in arguments:
                tell(f"{path.name}/{name}: {'ok' if problem is None else f'DAMAGED, {problem}'}")
    if "--json" in arguments:
        print_json({"run": str(folder), "files": rows})
    damaged = [row for row in rows if row["problem"] is not None]
    if damaged:
        raise CheckpointError(
            f"{len(damaged)} of {len(rows)} files are damaged",
            ", ".join(f"{row['checkpoint']}/{row['file']}" for row in damaged[:5]) + (" ..." if len(damaged) > 5 else ""),
            "the next start of the run skips damaged checkpoints; restore them from a copy if the newest is among them",
        )
    if gone := journal.missing(steps):
        raise CheckpointError(f"{gone} was saved and is gone", str(folder / "checkpoints"), "restore it from a copy")
    if "--json" not in arguments:
        whole = f"{counted(len(rows), 'file')} of {counted(len(steps), 'checkpoint')} are intact"
        tell(whole if steps else "there is no checkpoint yet")
    return 0
