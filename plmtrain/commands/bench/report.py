"""The measurements of a benchmark, as a table, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from plmtrain.files import size_in_words
from plmtrain.runs.step_shapes import in_flops_per_second

_EXPLAINED = (
    "share: of the rate of one product of the step's rows with a feed-forward layer, alone; loading: waiting for rows; medians"
)

_PEER = "transformers: tokens/s of its Trainer in a process of its own, on the same rows, a step of each in turn"


@dataclass(frozen=True)
class PeerSpeed:
    """The speed of steps of transformers' Trainer.

    Args:
        seconds: the median of a step.
        peak_bytes: the most memory of its process; None if unknown.
    """

    seconds: float
    peak_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class StepSpeed:
    """The speed of steps of one shape.

    Args:
        part: the objective of a mixture; None if there is but one.
        rows, length: of a step.
        micro_batch_size: the rows at a time.
        steps: how many were measured.
        seconds: the median seconds of a step.
        tokens_per_second: without padding if the program counts its tokens.
        flops_per_second: of the step's matrix products.
        machine_flops_per_second: of a matrix product of the step's shape alone.
        loading_share: of the time of a step, spent waiting for its rows.
        peak_bytes: the most memory of the process; None if unknown.
        peer: the speed of transformers' Trainer on the same rows; None if it was not asked for.
    """

    part: str | None
    rows: int
    length: int
    micro_batch_size: int
    steps: int
    seconds: float
    tokens_per_second: float
    flops_per_second: float
    machine_flops_per_second: float
    loading_share: float
    peak_bytes: int | None
    peer: PeerSpeed | None = None

    @property
    def share_of_machine(self) -> float:
        """The share of the machine's own rate that the step reaches."""
        return self.flops_per_second / self.machine_flops_per_second

    @property
    def against_peer(self) -> dict[str, float]:
        """The peer's tokens per second, and how many times as fast plmtrain is; empty without a peer."""
        if self.peer is None:
            return {}
        ratio = self.peer.seconds / self.seconds
        return {"peer_tokens_per_second": self.tokens_per_second / ratio, "ratio": ratio}


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
        whole["speeds"] = [
            {**asdict(speed), "share_of_machine": speed.share_of_machine, **speed.against_peer} for speed in self.speeds
        ]
        return whole

    def lines(self) -> list[str]:
        """Return what is not in the table, a line each."""
        lines = [f"{self.subject}: {self.parameters:,} parameters", self.machine]
        if self.seconds_to_first_step is not None:
            lines.append(f"{self.seconds_to_first_step:.1f} s from the start of the process to the end of the first step")
        if any(speed.peer is not None for speed in self.speeds):
            lines.append(_PEER)
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
    """Return the columns of a step; beside a peer, fewer of its own, so that a terminal shows all of them."""
    step = f"{f'{speed.part}, ' if speed.part else ''}{speed.rows} x {speed.length}"
    share = f"{100 * speed.share_of_machine:.0f}%"
    if speed.peer is not None:
        against = speed.against_peer
        return {
            "step": step,
            "tokens/s": f"{speed.tokens_per_second:,.0f}",
            "share": share,
            "memory": _memory(speed.peak_bytes),
            "transformers": f"{against['peer_tokens_per_second']:,.0f}",
            "its memory": _memory(speed.peer.peak_bytes),
            "ratio": f"{against['ratio']:.2f}",
        }
    return {
        "step": step,
        "seconds": f"{speed.seconds:.3g}",
        "tokens/s": f"{speed.tokens_per_second:,.0f}",
        "products": in_flops_per_second(speed.flops_per_second),
        "share": share,
        "loading": f"{100 * speed.loading_share:.1f}%",
        "memory": _memory(speed.peak_bytes),
    }


def _memory(peak: int | None) -> str:
    return "unknown" if peak is None else size_in_words(peak)
