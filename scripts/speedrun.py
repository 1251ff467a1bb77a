"""How fast a masked language model is trained: minutes until it is 1, 2 and 3 nats below the unigram loss of the hidden tokens.

    python scripts/speedrun.py --against "trainer=short_first" optimizer=muon trainer=short_first
    python scripts/speedrun.py --text book.jsonl --seeds 1 2 3 --steps 4000 optimizer=muon

The yardstick is BERT with 4 layers of width 256, 16,000 tokens, rows of 128 tokens when it is validated, on the built-in sample
or on any JSON lines with a column ``text``; everything else may change by words such as those of ``plmtrain pretrain``. Each
seed trains with both sets of words, one after the other, so that neither meets a busier machine. ``--against`` is omitted to
measure one set. Minutes are those of training on this machine; tokens do not depend on it. The runs are kept in ``--folder``,
where a script that is stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

YARDSTICK = (
    "model=bert objective=dynamic_mlm model.layers=4 model.width=256 model.heads=4 model.feed_forward=1024 "
    "tokenizer.vocab_size=16000 trainer.sequence_length=128 trainer.batch_size=32 optimizer.lr=1e-3"
).split()
NATS = (1.0, 2.0, 3.0)
MINUTES = (5.0, 15.0, 60.0)


@dataclass(frozen=True)
class Point:
    """A validation: the minutes and tokens of training before it, and how far the hidden tokens' loss is below their unigram
    loss, in nats."""

    minutes: float
    tokens: float
    below: float


def main() -> int:
    """Train, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="words of plmtrain pretrain")
    parser.add_argument("--against", metavar="WORDS", help="the words of the record to beat, in quotes")
    parser.add_argument("--text", type=Path, nargs="+", help="JSON lines with a column text; without it the built-in sample")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--validations", type=int, default=40, help="as many in each run, evenly spaced")
    parser.add_argument("--folder", type=Path, default=Path("speedrun"))
    options = parser.parse_intermixed_args()
    data = ["data=sample"]
    if options.text:
        data = ["data=jsonl", f"data.files={json.dumps([str(path.resolve()) for path in options.text])}"]
    named = {"this": options.words} | ({} if options.against is None else {"record": shlex.split(options.against)})
    every = max(1, options.steps // options.validations)
    pace = [f"trainer.steps={options.steps}", f"trainer.evaluate_every={every}", f"trainer.log_every={every}"]
    options.folder.mkdir(parents=True, exist_ok=True)
    curves: dict[str, list[list[Point]]] = {name: [] for name in named}
    for seed in options.seeds:
        for name, words in named.items():
            run = f"{name}-{seed}"
            command = ["pretrain", *YARDSTICK, *data, *pace, *words, f"seed={seed}", f"name={run}"]
            subprocess.run([sys.executable, "-m", "plmtrain", *command], cwd=options.folder, check=True)
            curves[name].append(read(options.folder / "runs" / run / "metrics.jsonl"))
    print(table(curves))
    return 0


def read(metrics: Path) -> list[Point]:
    """Return the validations of a run's metrics in order, each at the minutes and tokens of the training record before it."""
    points, minutes, tokens = [], 0.0, 0.0
    for record in map(json.loads, metrics.read_text(encoding="utf-8").splitlines()):
        minutes, tokens = record.get("seconds", 60 * minutes) / 60, record.get("tokens", tokens)
        if "val/hidden_loss" in record:
            points.append(Point(minutes, tokens, record["val/hidden_unigram_loss"] - record["val/hidden_loss"]))
    return points


def reached(points: Sequence[Point], nats: float) -> Point | None:
    """Return where a curve first is so far below the unigram loss, on the line between two validations; None for nowhere."""
    before = Point(0.0, 0.0, 0.0)
    for point in points:
        if point.below >= nats:
            part = (nats - before.below) / (point.below - before.below)
            between = ((1 - part) * a + part * b for a, b in ((before.minutes, point.minutes), (before.tokens, point.tokens)))
            return Point(*between, nats)
        before = point
    return None


def after(points: Sequence[Point], minutes: float) -> float | None:
    """Return how far below the unigram loss the last validation up to a time is; None where the run ended before it."""
    earlier = [point.below for point in points if point.minutes <= minutes]
    return earlier[-1] if earlier and points[-1].minutes >= minutes else None


def table(curves: dict[str, list[list[Point]]]) -> str:
    """Return, for each name, the mean and standard error over its seeds of every measure, and what separates two names."""
    lines = [f"{'':<28}" + "".join(f"{name:>24}" for name in curves)]
    measures: dict[str, dict[str, list[float | None]]] = {}
    for nats in NATS:
        places = {name: [reached(points, nats) for points in each] for name, each in curves.items()}
        for unit, scale in (("minutes", 1.0), ("tokens", 1e-6)):
            title = f"{'M ' if unit == 'tokens' else ''}{unit} to {nats:g} nats below"
            measures[title] = {
                name: [place and scale * getattr(place, unit) for place in several] for name, several in places.items()
            }
    for minutes in MINUTES:
        measures[f"nats below after {minutes:g} minutes"] = {
            name: [after(points, minutes) for points in each] for name, each in curves.items()
        }
    measures["nats below at the end"] = {name: [points[-1].below for points in each] for name, each in curves.items()}
    for title, by_name in measures.items():
        lines.append(f"{title:<28}" + "".join(f"{_summary(values):>24}" for values in by_name.values()) + _p_value(by_name))
    return "\n".join(lines)


def _summary(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    error = f" ± {statistics.stdev(known) / len(known) ** 0.5:.3f}" if len(known) > 1 else ""
    missing = f" ({len(values) - len(known)} not)" if len(known) < len(values) else ""
    return f"{statistics.fmean(known):.3f}{error}{missing}"


def _p_value(by_name: dict[str, list[float | None]]) -> str:
    """Return Welch's test between two names, where every seed of both has a value."""
    known = [[value for value in values if value is not None] for values in by_name.values()]
    if len(known) != 2 or any(len(a) < 2 or len(a) < len(b) for a, b in zip(known, by_name.values(), strict=True)):
        return ""
    from scipy.stats import ttest_ind

    return f"   p = {ttest_ind(*known, equal_var=False).pvalue:.2g}"


if __name__ == "__main__":
    sys.exit(main())
