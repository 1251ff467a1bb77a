"""``plmtrain pretrain`` as a user meets it: killed, stopped, resumed, repeated, refused."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.command_line import finish, plmtrain, start

from plmtrain.training.precision import choose_precision, precision_reason

RUN = (
    "pretrain model=bert model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 "
    "trainer.sequence_length=16 trainer.batch_size=8 trainer.steps=8 trainer.log_every=1 trainer.save_every=2 "
    "trainer.evaluate_every=4 trainer.evaluate_batches=2 trainer.threads=1 "
    "tokenizer.vocab_size=120 data=text data.files=[corpus.txt] "
    "data.document_per=blank_line data.processes=1"
).split()


def write_corpus(path: Path) -> None:
    """Sentences of a made-up language, a hundred documents."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(150)]
    documents = [
        " ".join(" ".join(rng.choices(words, k=rng.randint(4, 9))).capitalize() + "." for _ in range(8)) for _ in range(100)
    ]
    path.write_text("\n\n".join(documents) + "\n")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, and a finished run on it."""
    folder = tmp_path_factory.mktemp("work")
    write_corpus(folder / "corpus.txt")
    result = plmtrain(*RUN, "name=whole", cwd=folder)
    assert result.code == 0, result.err
    assert "unigram entropy" in result.out
    assert "filled masks" in result.out
    assert "corpus.txt (data=text): " in result.out
    assert "curves: runs/whole/metrics.jsonl" in result.out
    cpu = torch.device("cpu")
    assert f"{choose_precision('auto', cpu)} ({precision_reason('auto', cpu)}) on cpu" in result.out
    assert re.search(r"matrix products of these shapes reach [\d.,]+ [GT]FLOPS here", result.out)
    assert re.search(r"step 8/8  loss .* \d+% of the machine", result.out)
    records = [json.loads(line) for line in (folder / "runs" / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < record["machine_share"] < 2 for record in records if "tokens_per_second" in record)
    return folder


@pytest.fixture
def work(prepared: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(prepared, tmp_path / "work", copy_function=shutil.copy2)
    return tmp_path / "work"


def status(work: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((work / "runs" / name / "status.json").read_text())
    return found


def losses(work: Path, name: str) -> list[tuple[int, float]]:
    lines = (work / "runs" / name / "metrics.jsonl").read_text().splitlines()
    return [(record["step"], record["loss"]) for record in map(json.loads, lines) if "loss" in record]


def weights(work: Path, name: str) -> bytes:
    return (work / "runs" / name / "checkpoints" / "step-00000008" / "model.safetensors").read_bytes()


def test_the_folder_of_a_run_has_what_is_promised(prepared: Path) -> None:
    run = prepared / "runs" / "whole"
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} >= {
        "config.yaml",
        "status.json",
        "metrics.jsonl",
        "checkpoints",
        "tokenizer",
        "log.txt",
    }
    assert status(prepared, "whole")["state"] == "finished"
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000006", "step-00000008"]
    record = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert {"step", "tokens", "loss", "loss/mlm", "lr", "grad_norm", "tokens_per_second", "seconds"} <= record.keys()
    assert record["tokens"] == 8 * 16


@pytest.mark.parametrize("point", ["train.forward@5", "save.write@4", "save.rename@6", "eval@8"])
def test_the_same_command_after_a_kill_comes_to_the_same_end(work: Path, point: str) -> None:
    assert plmtrain(*RUN, "name=killed", cwd=work, fault=point).code == -signal.SIGKILL
    result = plmtrain(*RUN, "name=killed", cwd=work)
    assert result.code == 0, result.err
    assert "took over the lock" in result.out
    assert weights(work, "killed") == weights(work, "whole")
    assert losses(work, "killed") == losses(work, "whole")
    assert not list((work / "runs" / "killed").rglob("*.tmp"))


def test_a_signal_stops_it_and_the_same_command_goes_on(work: Path) -> None:
    result = plmtrain(*RUN, "name=stopped", cwd=work, fault="train.forward@4:term")
    assert result.code == 75
    assert "stopping after this step" in result.err
    assert result.err.splitlines()[-3:-1] == ["stopped by SIGTERM", "step 5 of 8 is saved"]
    log = (work / "runs" / "stopped" / "log.txt").read_text()
    assert "INFO stopped by SIGTERM; step 5 of 8 is saved" in log
    assert "ERROR" not in log
    assert "Traceback" not in log
    assert status(work, "stopped") | {"state": "stopped", "exit_code": 75, "step": 5} == status(work, "stopped")
    assert plmtrain(*RUN, "name=stopped", cwd=work).code == 0
    assert weights(work, "stopped") == weights(work, "whole")


def test_a_runs_own_config_repeats_it(work: Path) -> None:
    result = plmtrain("pretrain", "runs/whole/config.yaml", "name=again", cwd=work)
    assert result.code == 0, result.err
    assert weights(work, "again") == weights(work, "whole")
    assert losses(work, "again") == losses(work, "whole")
    assert "is finished" in plmtrain("pretrain", "runs/whole/config.yaml", cwd=work).out


def test_a_finished_run_says_so(work: Path) -> None:
    before = weights(work, "whole")
    result = plmtrain(*RUN, "name=whole", cwd=work)
    assert result.code == 0
    assert "is finished" in result.out
    assert weights(work, "whole") == before


def test_settings_that_drift_are_refused_or_told(work: Path) -> None:
    assert plmtrain(*RUN, "name=drifting", cwd=work, fault="train.forward@4:term").code == 75
    refused = plmtrain(*RUN, "name=drifting", "optimizer.lr=0.5", cwd=work)
    assert refused.code == 2
    assert "optimizer.lr" in refused.err
    assert "resume.allow=[optimizer.lr]" in refused.err
    assert status(work, "drifting")["state"] == "stopped"  # a refusal changes nothing
    structural = plmtrain(*RUN, "name=drifting", "model.width=32", "resume.allow=[model.width]", cwd=work)
    assert structural.code == 2
    allowed = plmtrain(*RUN, "name=drifting", "optimizer.lr=0.5", "resume.allow=[optimizer.lr]", "trainer.log_every=2", cwd=work)
    assert allowed.code == 0, allowed.err
    assert "trainer.log_every: 1 -> 2" in allowed.out


def test_text_that_was_edited_is_noticed_whatever_its_times_say(work: Path) -> None:
    """Same size, same mtime (DM5), and a tokenizer that stays as it is: the file is named, and may be accepted."""
    fixed = (*RUN, "name=edited", "tokenizer.path=runs/whole/tokenizer")
    assert plmtrain(*fixed, cwd=work, fault="train.forward@4:term").code == 75
    corpus = work / "corpus.txt"
    times = corpus.stat()
    text = corpus.read_text()
    corpus.write_text(text.replace(text[:40], text[:40][::-1], 1))
    os.utime(corpus, ns=(times.st_atime_ns, times.st_mtime_ns))
    refused = plmtrain(*fixed, cwd=work)
    assert refused.code == 2, refused.out + refused.err
    assert "corpus.txt" in refused.err
    assert plmtrain(*fixed, "resume.allow=[data.files]", cwd=work).code == 0


def test_a_damaged_checkpoint_is_passed_over_and_none_at_all_is_an_error(work: Path) -> None:
    assert plmtrain(*RUN, "name=damaged", cwd=work, fault="train.forward@6:kill9").code == -signal.SIGKILL
    checkpoints = work / "runs" / "damaged" / "checkpoints"
    newest, older = sorted(checkpoints.iterdir(), reverse=True)[:2]
    flipped = bytearray((newest / "model.safetensors").read_bytes())
    flipped[-5] ^= 1
    (newest / "model.safetensors").write_bytes(flipped)
    assert plmtrain("verify", "runs/damaged", cwd=work).code == 4
    strict = plmtrain(*RUN, "name=damaged", "resume.strict=true", cwd=work)
    assert strict.code == 4
    result = plmtrain(*RUN, "name=damaged", cwd=work)
    assert result.code == 0, result.err
    assert f"skipped {newest.name}" in result.out
    assert f"from step {int(older.name[5:])}" in result.out
    assert weights(work, "damaged") == weights(work, "whole")

    for file in checkpoints.rglob("*.safetensors"):
        file.write_bytes(b"")
    assert plmtrain(*RUN, "name=damaged", "trainer.log_every=2", "resume.strict=false", cwd=work).code in (0, 4)
    (work / "runs" / "damaged" / "status.json").unlink()
    assert plmtrain(*RUN, "name=damaged", cwd=work).code == 4


def test_a_live_run_is_left_alone(work: Path) -> None:
    first = start(*RUN, "name=live", cwd=work, fault="train.forward@3:hang", name="first")
    try:
        deadline = time.monotonic() + 120
        while not (work / "runs" / "live" / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        second = plmtrain(*RUN, "name=live", cwd=work)
        assert second.code == 2
        assert f"process {first.pid}" in second.err
    finally:
        first.kill()
        finish(first, work)


def test_two_processes_under_one_command(work: Path) -> None:
    """A real command line: the parent starts both, and their end is one."""
    environment = {**os.environ, "PLMTRAIN_TESTING": "1", "PLMTRAIN_FAULT": "train.forward@5:term"}
    exact = ("model.dropout=0", "model.attention_dropout=0", "trainer.precision=fp32")
    pair = [*RUN, "name=pair", "launch.processes=2", *exact]
    command = [sys.executable, "-m", "plmtrain", *pair]
    stopped = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert stopped.returncode == 75, stopped.stderr
    assert status(work, "pair")["exit_code"] == 75
    rest = plmtrain(*pair, cwd=work)
    assert rest.code == 0, rest.err
    assert plmtrain(*RUN, "name=single", *exact, cwd=work).code == 0
    for (step, loss), (same_step, same_loss) in zip(losses(work, "pair"), losses(work, "single"), strict=True):
        assert step == same_step
        assert loss == pytest.approx(same_loss, rel=1e-5)


def test_of_a_finished_run_no_process_of_a_foreign_launcher_waits(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one ends at once, and what is left of the group would wait for it until the time is up."""
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    for rank in ("0", "1"):
        for name, value in {**group, "RANK": rank, "LOCAL_RANK": rank}.items():
            monkeypatch.setenv(name, value)
        result = plmtrain(*RUN, "name=whole", "launch.timeout=3", cwd=prepared)
        assert result.code == 0, result.err
        assert ("is finished" in result.out + result.err) == (rank == "0")


def test_a_trained_run_is_used(prepared: Path) -> None:
    evaluated = plmtrain("evaluate", "runs/whole", "--json", cwd=prepared)
    assert evaluated.code == 0, evaluated.err
    values = json.loads(evaluated.out.splitlines()[-1])
    logged = [json.loads(line) for line in (prepared / "runs/whole/metrics.jsonl").read_text().splitlines()]
    assert values["step"] == 8
    assert values["loss"] == pytest.approx(logged[-1]["val/loss"], rel=1e-6)
    answered = plmtrain("predict", "runs/whole", "Abc [MASK] def.", "--json", cwd=prepared)
    assert answered.code == 0, answered.err
    assert json.loads(answered.out.splitlines()[0])["text"] == "Abc [MASK] def."
    assert plmtrain("predict", "runs/whole", "nothing hidden", cwd=prepared).code == 3
    assert plmtrain("predict", "runs/nowhere", "a [MASK]", cwd=prepared).code == 2


def test_an_evaluation_reads_what_it_is_told_or_refuses_it(prepared: Path) -> None:
    def loss(*overrides: str) -> float:
        result = plmtrain("evaluate", "runs/whole", "--json", *overrides, cwd=prepared)
        assert result.code == 0, result.err
        return float(json.loads(result.out.splitlines()[-1])["loss"])

    assert loss("objective.mask_probability=0.5") != loss()
    assert loss("trainer.evaluate_batches=1") != loss()
    for idle in ("model.layers=2", "optimizer.lr=1", "seed=3", "objective=rtd", "launch.processes=2", "trainer.steps=9"):
        refused = plmtrain("evaluate", "runs/whole", idle, cwd=prepared)
        assert refused.code == 2, idle
        assert idle.partition("=")[0] in refused.err
        assert "Traceback" not in refused.err


def test_inspect_builds_no_model(prepared: Path) -> None:
    result = plmtrain("inspect", *RUN[1:], "objective=whole_word_mlm", cwd=prepared)
    assert result.code == 0, result.err
    assert "specials touched" in result.out
    assert "0.0000" in result.out
