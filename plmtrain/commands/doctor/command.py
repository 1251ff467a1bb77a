"""``plmtrain doctor``: look at the machine, choose as a run would, and say what stands in its way."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from plmtrain.commands.doctor.diagnosis import Diagnosis
from plmtrain.commands.doctor.packages import missing, packages
from plmtrain.console import counted, print_json, tell
from plmtrain.errors import SettingsError
from plmtrain.redaction import redact, redact_text


def run(arguments: list[str]) -> int:
    """Print what a run has on this machine, what it would choose and why, and what could be better.

    Raises:
        SettingsError: for an argument that is not known.
    """
    if unknown := [word for word in arguments if word != "--json"]:
        raise SettingsError(f"doctor does not know {unknown[0]!r}", "plmtrain doctor [--json]", "omit it")
    parts = [packages(), *([] if missing() else _of_torch())]
    if "--json" in arguments:
        facts = {part.key: part.values for part in parts}
        print_json(redact(facts | {"advice": [line for part in parts for line in part.advice]}))
    else:
        tell(*(item for part in parts for item in _drawn(part)), *_advised(parts))
    return 0


def _of_torch() -> list[Diagnosis]:
    from plmtrain.commands.doctor.choices import choices
    from plmtrain.commands.doctor.machine import machine

    return [machine(), choices()]


def _drawn(part: Diagnosis) -> Iterator[str | Table]:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=12)
    for heading, said in part.facts.items():
        table.add_row(f"  {heading}", Text(redact_text(said)))
    yield part.title
    yield table


def _advised(parts: list[Diagnosis]) -> Iterator[str]:
    lines = [redact_text(line) for part in parts for line in part.advice]
    yield f"{counted(len(lines), 'remark')}:" if lines else "nothing stands in the way of a run"
    yield from (f"- {line}" for line in lines)
