"""``plmtrain runs sweep FOLDER``: the table of a sweep once more, as its runs are now; nothing is run."""

from __future__ import annotations

from pathlib import Path

from plmtrain.console import print_json
from plmtrain.errors import SettingsError
from plmtrain.study.job_outcome import up_to_date
from plmtrain.study.summary_files import as_json, publish, tell_summary
from plmtrain.study.sweep_record import read_records
from plmtrain.study.sweep_summary import Summary


def run(arguments: list[str]) -> int:
    """Print the table of a sweep, and write its files again.

    A job that was resumed by itself since counts as what it is now; one whose process is gone is told as killed.
    """
    words = [word for word in arguments if word != "--json"]
    if len(words) != 1:
        remedy = "write: plmtrain runs sweep runs/sweeps/NAME"
        raise SettingsError("runs sweep takes the folder of one sweep", f"command line: runs sweep {' '.join(words)}", remedy)
    folder = Path(words[0])
    records = read_records(folder / "jobs")
    if not records:
        raise SettingsError(
            f"{folder} is no sweep", f"there are no jobs in {folder / 'jobs'}", "name a folder below runs/sweeps/"
        )
    summary = Summary.of([up_to_date(record) for record in records])
    publish(summary, folder)
    if "--json" in arguments:
        print_json(as_json(summary))
    else:
        tell_summary(summary, folder)
    return 0
