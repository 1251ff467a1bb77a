"""``plmtrain bench``: rates of real steps of every shape, against the arithmetic of the shapes."""

from __future__ import annotations

import json
import math
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command_line import plmtrain
from support.memory_rows import VOCABULARY

from plmtrain.commands.bench import command, peer
from plmtrain.data.loading.order import plan_phases
from plmtrain.errors import SettingsError
from plmtrain.runs.corpus import programs_of
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training import costs, machine
from plmtrain.training.costs import Work

WIDTH, INNER, LAYERS = 16, 32, 2
TINY = f"model.layers={LAYERS} model.width={WIDTH} model.heads=2 model.feed_forward={INNER} model.embedding_width={WIDTH}".split()
PHASES = "trainer.phases=[{share:0.5,sequence_length:16,token_factor:1},{share:0.5}]"
RUN = ["model=electra", "objective=mixture", "objective.shares={mlm:1,rtd:1}", "data=text", "data.files=[corpus.txt]", *TINY]
SHAPE = [
    "trainer.threads=1",
    "trainer.sequence_length=32",
    "trainer.batch_size=4",
    "tokenizer.vocab_size=150",
    "trainer.precision=fp32",
    PHASES,
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    words = ["the mill stands by the river", "a boat", "nobody knows why", "it rains again"]
    lines = (f"{words[number % 4]} {words[number % 3]}, number {number}.\n" for number in range(300))
    (tmp_path / "corpus.txt").write_text("".join(lines))
    monkeypatch.setattr(command, "_SECONDS", 0.0)  # the child that runs the command is forked from this process
    return tmp_path


def test_every_shape_is_measured_and_nothing_written(work: Path) -> None:
    result = plmtrain("bench", *RUN, *SHAPE, "--json", cwd=work)
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert not (work / "runs").exists()
    speeds = report["speeds"]
    assert [(speed["part"], speed["rows"], speed["length"]) for speed in speeds] == [
        ("mlm", 8, 16),
        ("rtd", 8, 16),
        ("mlm", 4, 32),
        ("rtd", 4, 32),
    ]
    for speed in speeds:
        assert math.isclose(speed["tokens_per_second"] * speed["seconds"], 4 * 32, rel_tol=0.01)
        assert 0 < speed["loading_share"] < 1
        assert math.isclose(speed["share_of_machine"], speed["flops_per_second"] / speed["machine_flops_per_second"])
        # The linear layers of the blocks alone: forth, and twice back.
        of_blocks = 3 * 2 * 4 * 32 * LAYERS * (4 * WIDTH**2 + 2 * WIDTH * INNER)
        assert of_blocks < speed["flops_per_second"] * speed["seconds"] < 10 * of_blocks
    assert report["seconds_to_first_step"] > 0


def test_the_first_step_ends_before_anything_is_measured(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The age of the process is asked before each step: before the second, the first has ended."""
    ages = iter(range(1, 100))
    monkeypatch.setattr(command, "process_age", lambda: next(ages))

    def work_of(*given: Any) -> Work:
        assert next(ages) > 2, "costs are counted before the first step"
        return costs.work_of(*given)

    monkeypatch.setattr(command, "work_of", work_of)
    result = plmtrain("bench", "model=bert", "objective=mlm", *RUN[3:-1], *SHAPE[:-1], "--json", cwd=work)
    assert json.loads(result.out)["seconds_to_first_step"] == 2


def test_a_task_is_measured_on_its_examples(work: Path) -> None:
    lines = (f"{number % 2}\tthe mill number {number} stands by the river\n" for number in range(60))
    (work / "rows.tsv").write_text("label\ttext\n" + "".join(lines))
    words = [
        "task=classification",
        "data.files=[rows.tsv]",
        "task.text=text",
        "model=bert",
        *TINY[:-1],
        "tokenizer.vocab_size=80",
    ]
    shape = ["trainer.sequence_length=16", "trainer.batch_size=4", "trainer.threads=1", "trainer.precision=fp32"]
    result = plmtrain("bench", *words, *shape, "--json", cwd=work)
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert report["subject"] == "task=classification model=bert"
    (speed,) = report["speeds"]
    assert (speed["rows"], speed["length"]) == (4, 16)
    of_blocks = 3 * 2 * 4 * 16 * LAYERS * (4 * WIDTH**2 + 2 * WIDTH * INNER)
    assert of_blocks < speed["flops_per_second"] * speed["seconds"] < 10 * of_blocks
    assert not (work / "runs").exists()


def test_markdown_and_what_is_refused(work: Path) -> None:
    result = plmtrain("bench", "model=bert", "objective=mlm", *RUN[3:-1], *SHAPE[:-1], "--markdown", cwd=work)
    assert result.code == 0, result.err
    head, rule, row = result.out.splitlines()[:3]
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| 4 x 32 |")
    result = plmtrain("bench", *RUN, *SHAPE, "launch.processes=2", cwd=work)
    assert result.code == 2
    assert "bench measures one process" in result.err


STAND_IN = """
import json, sys
job = json.loads(sys.stdin.readline())
print("{}", flush=True)
for number, line in enumerate(sys.stdin):
    if line.strip() != "step":
        break
    print(json.dumps({"seconds": 100 if number == 0 else 5 + number, "peak": 1000 + number}), flush=True)
"""
"""A peer whose first step takes 100 seconds, and the others 6, 7, 8 ..."""


def test_a_peer_takes_a_step_after_each_of_ours(work: Path) -> None:
    def stand_in() -> None:
        peer.PROGRAM = (sys.executable, "-c", STAND_IN)

    words = ["model=bert", "objective=dynamic_mlm", *RUN[3:-1], *SHAPE[:-1], "against=transformers"]
    result = plmtrain("bench", *words, "--json", cwd=work, before=stand_in)
    assert result.code == 0, result.err
    (speed,) = json.loads(result.out)["speeds"]
    assert speed["steps"] == 3
    assert speed["peer"] == {"seconds": 7, "peak_bytes": 1003}
    assert math.isclose(speed["peer_tokens_per_second"], 4 * 32 / 7)
    assert math.isclose(speed["ratio"], 7 / speed["seconds"])


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_comparison_that_is_stopped_leaves_nothing(work: Path, asked: signal.Signals) -> None:
    """While the peer computes, which may take long."""
    stuck = f"import os, time; os.kill(os.getppid(), {asked:d}); time.sleep(100)"

    def before() -> None:
        peer.PROGRAM = (sys.executable, "-c", stuck)
        tempfile.tempdir = str(work)

    words = ["model=bert", "objective=dynamic_mlm", *RUN[3:-1], *SHAPE[:-1], "against=transformers"]
    result = plmtrain("bench", *words, cwd=work, before=before)
    assert result.code == 75, result.err
    assert f"stopped by {asked.name}" in result.err
    assert not list(work.glob("plmtrain-bench-*"))


def test_a_peer_that_fails_is_named(work: Path) -> None:
    def failing() -> None:
        peer.PROGRAM = (sys.executable, "-c", "raise SystemExit('no such head')")

    words = ["model=bert", "objective=dynamic_mlm", *RUN[3:-1], *SHAPE[:-1], "against=transformers"]
    result = plmtrain("bench", *words, cwd=work, before=failing)
    assert result.code == 1
    assert result.err.splitlines()[-3:-1] == ["the process of transformers' Trainer ended with 1", "no such head"]


@pytest.mark.parametrize(
    ("words", "installed", "what"),
    [
        (["model=electra_small", "objective=rtd"], True, "transformers' Trainer has nothing like objective=rtd"),
        (["model=electra_small", "objective=mixture", "objective.shares={mlm:1,rtd:1}"], True, "mixes several"),
        (["model=bert", "objective=mlm"], False, "transformers is not installed"),
    ],
)
def test_what_cannot_be_compared(words: list[str], installed: bool, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "find_spec", lambda name: name if installed else None)
    settings = pretrain_settings(compose(words))
    with pytest.raises(SettingsError, match=re.escape(what)) as caught:
        peer.require_peer(programs_of(settings, plan_phases(settings.trainer), VOCABULARY))
    assert len(str(caught.value).splitlines()) == 3


def test_the_machines_rate_is_that_of_its_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0, 1, 1, 2, 6, 6.5, 7, 7.25, 100, 100, 103])  # products take 1, 4, 0.25 and 3 seconds
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(times))
    assert machine.product_rate(3, 5, 7, "fp32", torch.device("cpu"), seconds=50) == 2 * 3 * 5 * 7 / 0.25


def test_before_a_run_few_and_short_products_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(machine, "_timed", lambda left, right: asked.append((*left.shape, *right.shape)) or 1e-9)
    settings = pretrain_settings(compose(["model=bert"])).model
    machine.rate_before_run(settings, 768, 10**6, "fp32", torch.device("cpu"))
    assert len(asked) <= 22  # the first and the last one besides
    assert len(set(asked)) == 1
    rows, *others = asked[0]
    assert others == [768, 768, 3072]
    assert 1e9 < 2 * rows * 768 * 3072 <= 2e9
