"""How fast a masked language model is trained: minutes until it is 1, 2 and 3 nats below the unigram loss of the hidden tokens.

    python scripts/speedrun.py --against "trainer=default" trainer=first_hour
    python scripts/speedrun.py --text book.jsonl --seeds 1 2 3 --steps 1500 optimizer=muon

The yardstick is BERT with 4 layers of width 256 (``size=small``), 16,000 tokens, rows of 128 tokens when it is validated, on the
built-in sample or on any JSON lines with a column ``text``; everything else may change by words such as those of ``plmtrain
pretrain``. Each seed trains with both sets of words, one after the other, so that neither meets a busier machine. Without
``--against`` one set is measured. Minutes are those of training on this machine; tokens and FLOPs do not depend on it. The runs
are kept in ``--folder``, where a script that is stopped goes on; ``--read`` prints the tables of runs that are there already.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from plmtrain.data.loading.order import plan_phases
from plmtrain.programs.flops import BACKWARD, of_encoder, of_vocabulary_head
from plmtrain.settings.decode import settings_from_run
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.run import PretrainSettings

YARDSTICK = "model=bert size=small objective=dynamic_mlm tokenizer.vocab_size=16000 trainer.sequence_length=128".split()
NATS = (1.0, 2.0, 3.0)
MINUTES = (5.0, 15.0, 60.0)


@dataclass(frozen=True)
class Point:
    """A validation: the minutes, tokens and FLOPs of training before it, and how many nats the loss of hidden tokens is below
    their unigram loss."""

    minutes: float
    tokens: float
    flops: float
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
    parser.add_argument("--read", action="store_true", help="train nothing, and read the runs in the folder")
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
            if not options.read:
                subprocess.run([sys.executable, "-m", "plmtrain", *command], cwd=options.folder, check=True)
            curves[name].append(read(options.folder / "runs" / run))
    print(table(curves))
    return 0


def read(run: Path) -> list[Point]:
    """Return the validations of a run in order, each with what the training before it took."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    settings, rows = settings_from_run(config), config["resolved"]["vocabulary"]
    assert isinstance(settings, PretrainSettings)
    points, minutes, tokens = [], 0.0, 0.0
    for record in map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()):
        minutes, tokens = record.get("seconds", 60 * minutes) / 60, record.get("tokens", tokens)
        if "val/hidden_loss" in record:
            below = record["val/hidden_unigram_loss"] - record["val/hidden_loss"]
            points.append(Point(minutes, tokens, training_flops(settings, rows, record["step"]), below))
    return points


def training_flops(settings: PretrainSettings, vocabulary: int, steps: int) -> float:
    """Return the FLOPs of the first steps of a run of a masked language model, those of its matrix products; not a number for
    another objective."""
    model = settings.model
    assert isinstance(model, EncoderSettings)
    total = 0.0
    for phase in plan_phases(settings.trainer):
        share = phase.objective.get("mask_probability", getattr(settings.objective, "mask_probability", math.nan))
        if math.isnan(share):
            return math.nan
        read = round(share * phase.batch_size * phase.sequence_length)
        step = of_encoder(model, phase.batch_size, phase.sequence_length, read) + of_vocabulary_head(model, read, vocabulary)
        total += (1 + BACKWARD) * step * min(max(0, steps - phase.first_step), phase.steps)
    return total


def reached(points: Sequence[Point], nats: float) -> Point | None:
    """Return where a curve first is so far below the unigram loss, on the line between two validations; None for nowhere."""
    before = Point(0.0, 0.0, 0.0, 0.0)
    for point in points:
        if point.below >= nats:
            part = (nats - before.below) / (point.below - before.below)
            taken = ((getattr(before, name), getattr(point, name)) for name in ("minutes", "tokens", "flops"))
            return Point(*((1 - part) * a + part * b for a, b in taken), nats)
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
        for unit, scale, shown in (("minutes", 1.0, "minutes"), ("tokens", 1e-6, "M tokens"), ("flops", 1e-15, "PFLOPs")):
            title = f"{shown} to {nats:g} nats below"
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
