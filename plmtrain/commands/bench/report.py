"""The measurements of a benchmark, as a table, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from plmtrain.files import size_in_words
from plmtrain.runs.step_shapes import in_flops

_EXPLAINED = (
    "share: of the rate of one product of the step's rows with a feed-forward layer, alone; loading: waiting for rows; medians"
)


@dataclass(frozen=True, kw_only=True)
class StepSpeed:
    """The speed of steps of one shape.

    Args:
        part: the objective of a mixture; None if there is but one.
        rows, length: of a step.
        steps: how many were measured.
        seconds: the median seconds of a step.
        tokens_per_second: without padding if the program counts its tokens.
        flops_per_second: of the step's matrix products.
        machine_flops_per_second: of a matrix product of the step's shape alone.
        loading_share: of the time of a step, spent waiting for its rows.
        peak_bytes: the most memory of the process; None if unknown.
    """

    part: str | None
    rows: int
    length: int
    steps: int
    seconds: float
    tokens_per_second: float
    flops_per_second: float
    machine_flops_per_second: float
    loading_share: float
    peak_bytes: int | None

    @property
    def share_of_machine(self) -> float:
        """The share of the machine's own rate that the step reaches."""
        return self.flops_per_second / self.machine_flops_per_second


@dataclass(frozen=True, kw_only=True)
class Report:
    """All measurements of a benchmark.

    Args:
        subject: the model and the objective or the task.
        machine: the device, its threads and the precision with its reason, in words.
        parameters: of the learner.
        seconds_to_first_step: from the start of the process, the preparation of data included; None if unknown.
        speeds: of each shape.
    """

    subject: str
    machine: str
    parameters: int
    seconds_to_first_step: float | None
    speeds: Sequence[StepSpeed]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        whole = asdict(self)
        whole["speeds"] = [{**asdict(speed), "share_of_machine": speed.share_of_machine} for speed in self.speeds]
        return whole

    def lines(self) -> list[str]:
        """Return what is not in the table, a line each."""
        lines = [f"{self.subject}: {self.parameters:,} parameters", self.machine]
        if self.seconds_to_first_step is not None:
            lines.append(f"{self.seconds_to_first_step:.1f} s from the start of the process to the end of the first step")
        return [*lines, _EXPLAINED]

    def table(self) -> Table:
        """Return the speeds as a table."""
        table = Table()
        rows = [_cells(speed) for speed in self.speeds]
        for heading in rows[0]:
            table.add_column(heading, justify="left" if heading == "step" else "right")
        for cells in rows:
            table.add_row(*cells.values())
        return table

    def markdown(self) -> str:
        """Return everything as Markdown."""
        rows = [_cells(speed) for speed in self.speeds]
        head = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
        body = [f"| {' | '.join(cells.values())} |" for cells in rows]
        return "\n".join([*head, *body, "", *(f"- {line}" for line in self.lines())])


def _cells(speed: StepSpeed) -> Mapping[str, str]:
    return {
        "step": f"{f'{speed.part}, ' if speed.part else ''}{speed.rows} x {speed.length}",
        "seconds": f"{speed.seconds:.3g}",
        "tokens/s": f"{speed.tokens_per_second:,.0f}",
        "products": in_flops(speed.flops_per_second).removesuffix("OP") + "OPS",
        "share": f"{100 * speed.share_of_machine:.0f}%",
        "loading": f"{100 * speed.loading_share:.1f}%",
        "memory": "unknown" if speed.peak_bytes is None else size_in_words(speed.peak_bytes),
    }
