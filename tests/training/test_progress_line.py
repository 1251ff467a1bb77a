"""What is drawn, and that nothing which happens to the output reaches the training."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from plmtrain.programs.baseline import Baseline
from plmtrain.training.progress_line import ProgressLine

BASELINE = Baseline("hidden_loss", "hidden_unigram_loss", "hidden tokens")

TRAIN = textwrap.dedent(
    """
    from plmtrain import streams
    streams.prepare()
    from plmtrain.training.progress_line import ProgressLine
    from plmtrain.programs.baseline import Baseline
    with ProgressLine(400, baseline=Baseline("hidden_loss", "hidden_unigram_loss", "hidden tokens")) as line:
        for step in range(1, 401):
            line.step(step)
            if step % 20 == 0:
                line.record({"step": step, "tokens": step * 10, "loss": 700 / step, "lr": 1e-4, "tokens_per_second": 123456.7})
            if step % 200 == 0:
                hidden = {"val/hidden_loss": 7.0, "val/hidden_unigram_loss": 7.25}
                line.record({"step": step, "val/loss": 6.5, "val/perplexity": 665.1, **hidden})
        line.note("done \\u2713 \\ud55c")
    import pathlib, sys
    pathlib.Path(sys.argv[1]).write_text("trained to the end")
    """
)
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("TERM", "LANG", "LC_ALL", "COLUMNS", "NO_COLOR")}


def clock(seconds: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += seconds


def test_plain_lines_where_there_is_no_terminal() -> None:
    stream, ticks = io.StringIO(), clock(1.0)
    line = ProgressLine(100, first_step=40, baseline=BASELINE, stream=stream, clock=lambda: next(ticks))
    for step in range(41, 61):
        line.step(step)
    line.record({"step": 60, "loss": 7.3121, "lr": 1e-4, "tokens_per_second": 12345.6, "machine_share": 0.416})
    line.record({"step": 60, "val/loss": 7.1, "val/perplexity": 1212.9, "val/hidden_loss": 7.2, "val/hidden_unigram_loss": 7.25})
    for step in range(61, 75):
        line.step(step)
    line.record({"step": 74, "loss": 7.3121})
    line.close()
    estimate, training, validation, after = stream.getvalue().splitlines()
    assert estimate == "about 54 s for the other 54 steps, without validations (1 s a step)"
    assert training == "step 60/100  loss 7.3121  42 s left  12,346 tokens/s  42% of the machine  lr 1.00e-04"
    assert validation == (
        "step 60/100  validation: loss 7.1000, perplexity 1213; "
        "hidden tokens 7.200 nats each, 0.050 below their unigram loss 7.250"
    )
    assert after.startswith("step 74/100  loss 7.3121  (hidden tokens 0.050 below unigram)  ")


def spoken(seconds: float, steps: int, log_every: int, total: int = 1000) -> list[tuple[float, str]]:
    """The plain lines of a run whose steps take so many seconds, each with the time at which it came."""
    now, lines = 0.0, []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            lines.extend((now, line) for line in text.splitlines() if line)
            return len(text)

    line = ProgressLine(total, advice="quicker: a GPU", stream=Stream(), clock=lambda: now)
    line.step(0)
    for step in range(1, steps + 1):
        now += seconds
        line.step(step)
        if step % log_every == 0:
            line.record({"step": step, "loss": 1.0})
    return lines


def test_slow_steps_are_heard_of_within_a_minute() -> None:
    lines = spoken(57.0, 30, log_every=20)
    assert lines[0] == (57.0, "about 15 h 49 min for the other 999 steps, without validations (57 s a step)")
    assert lines[1] == (57.0, "quicker: a GPU")
    times = [0.0, *(time for time, _ in lines)]
    assert max(after - before for before, after in pairwise(times)) <= 2 * 57.0
    assert len(lines) <= 2 + 30


def test_a_plan_that_changes_is_counted_to_and_told_once_a_minute() -> None:
    now, stream = 0.0, io.StringIO()
    line = ProgressLine(100, stream=stream, clock=lambda: now)
    line.step(0)
    for now, total in ((1.0, 50), (61.0, 95), (62.0, 80), (90.0, 60), (130.0, 62), (200.0, 64)):  # noqa: B007  # the clock reads it
        line.planned(total)
    line.record({"step": 64, "loss": 1.0})
    told = stream.getvalue().splitlines()
    assert [words.split(":")[0] for words in told[:-1]] == ["step 0/80", "step 0/62"]
    assert told[-1].startswith("step 64/64")


def test_quick_steps_do_not_fill_a_log() -> None:
    lines = spoken(0.01, 10_000, log_every=1, total=10_000)  # 100 seconds
    assert 5 <= len(lines) <= 12
    assert lines[-1][1].startswith("step 10000/10000  loss 1.0000")
    assert not any("quicker" in line for _, line in lines)
    times = [time for time, line in lines if line.startswith("step")][:-1]
    assert all(after - before >= 9.9 for before, after in pairwise(times))


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (
            {"loss/mlm": 4.5, "mlm/accuracy": 0.25, "loss": 4.5, "perplexity": 90.0},
            "loss 4.5000, perplexity 90.0000, accuracy 0.2500",
        ),
        (
            {"loss/mlm": 4.5, "mlm/accuracy": 0.25, "loss/rtd": 0.5, "rtd/auc_low": 0.75, "loss": 29.5},
            "loss 29.5000, mlm loss 4.5000, mlm accuracy 0.2500, rtd loss 0.5000, rtd auc low 0.7500",
        ),
        ({"loss/classification": 0.5, "accuracy": 0.75, "loss": 0.5}, "loss 0.5000, accuracy 0.7500"),
    ],
)
def test_a_validation_says_everything_once_and_in_words(measured: dict[str, float], words: str) -> None:
    stream = io.StringIO()
    ProgressLine(10, stream=stream).record({"step": 1, **{f"val/{name}": value for name, value in measured.items()}})
    assert stream.getvalue() == f"step 1/10  validation: {words}\n"


def test_a_loss_that_is_not_finite_is_shown_as_it_is() -> None:
    stream = io.StringIO()
    ProgressLine(10, stream=stream).record({"step": 1, "loss": float("nan")})
    assert "loss nan" in stream.getvalue()


def on_a_terminal(tmp_path: Path, columns: int, **environment: str) -> str:
    """What a terminal of some width is sent."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(tmp_path / "end")], stdout=terminal, env={**ENVIRONMENT, **environment}
    )
    os.close(terminal)
    sent = b""
    while True:
        try:
            chunk = os.read(controller, 4096)
        except OSError:  # how Linux says that the other side is closed
            break
        if not chunk:
            break
        sent += chunk
    os.close(controller)
    assert process.wait() == 0
    assert (tmp_path / "end").exists()
    return sent.decode(errors="replace")


def test_a_live_line_on_a_terminal(tmp_path: Path) -> None:
    sent = on_a_terminal(tmp_path, 100, TERM="xterm", LANG="C.UTF-8")
    assert "step 400/400  loss 1.7500  (hidden tokens 0.250 below unigram)" in sent
    assert "perplexity 665.1" in sent
    assert "done ✓ 한" in sent
    assert sent.count("\n") < 10, "it stays on its line"


def test_a_terminal_of_twenty_columns(tmp_path: Path) -> None:
    sent = on_a_terminal(tmp_path, 20, TERM="xterm", LANG="C.UTF-8")
    drawn = re.split(r"[\r\n]+", re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", sent))
    live = [line for line in drawn if line.startswith("step") and "validation" not in line]
    assert live
    assert all(len(line) < 20 for line in live)


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    sent = on_a_terminal(tmp_path, 80, TERM="dumb", LANG="C")
    assert "\x1b" not in sent
    assert "step 20/400" in sent
    assert "step 400/400" in sent


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_the_c_locale(tmp_path: Path, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path / "end")],
        env={**ENVIRONMENT, "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert ("done ✓".encode() in done.stdout) == (encoding == "utf-8")
    assert not done.stderr


@pytest.mark.parametrize("reads", [0, 10])
def test_a_pipe_that_nobody_reads_any_more(tmp_path: Path, reads: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(tmp_path / "end")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(reads)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    assert (tmp_path / "end").exists()


def test_no_output_at_all(tmp_path: Path) -> None:
    # `>&-`: Python itself gives us None for a standard output that was closed before the start.
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "end")]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], env=ENVIRONMENT, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "end").exists()


def test_a_stream_that_is_closed_meanwhile() -> None:
    stream = io.StringIO()
    line = ProgressLine(10, stream=stream)
    stream.close()
    line.record({"step": 1, "loss": 1.0})
    line.note("more")
    line.close()
