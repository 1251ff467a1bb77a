"""The scripts for users, with the programs that they call stood in for."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from plmtrain.runs.command_settings import settings_for

SCRIPTS = Path(__file__).parents[1] / "scripts"

SRUN = """
while [ "${1#-}" != "$1" ]; do shift; done
echo $$ > "$HOME/step"
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    tasks="$tasks $!"
done
echo $tasks > "$HOME/tasks"
code=0
for task in $tasks; do wait $task; last=$?; [ $last -gt $code ] && code=$last; done
exit $code
"""
PLMTRAIN = """
trap 'exit 75' USR1
echo "$RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*" >> "$HOME/started.$RANK"
for tenth in $(seq ${TENTHS}); do sleep 0.1; done
exit ${CODE:-0}
"""
SCONTROL = """
if [ "$1" = show ]; then printf 'node-a\\nnode-b\\n'; else echo "$@" >> "$HOME/requeued"; fi
"""
SCANCEL = 'kill -USR1 $(cat "$HOME/tasks")\n'


def stand_ins(folder: Path, programs: dict[str, str]) -> dict[str, str]:
    """The environment in which these programs are found first."""
    (folder / "bin").mkdir()
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}")
        (folder / "bin" / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder)}


@pytest.mark.parametrize(("ending", "code", "requeued"), [("limit", 0, True), ("end", 0, False), ("failure", 3, False)])
def test_a_slurm_job_is_queued_again_when_its_run_was_stopped(tmp_path: Path, ending: str, code: int, requeued: bool) -> None:
    environment = stand_ins(tmp_path, {"srun": SRUN, "plmtrain": PLMTRAIN, "scontrol": SCONTROL, "scancel": SCANCEL})
    environment |= {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}
    environment |= {"TENTHS": "300" if ending == "limit" else "1", "CODE": "3" if ending == "failure" else "0"}
    command = ["bash", SCRIPTS / "slurm.sh", "pretrain", "ours.yaml", "seed=2"]
    job = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = [tmp_path / f"started.{rank}" for rank in (0, 1)]
    while job.poll() is None and not all(path.exists() and path.read_text() for path in started):
        time.sleep(0.02)
    if ending == "limit":
        job.send_signal(signal.SIGUSR1)  # as SLURM does, with B: to the script alone
    out, err = job.communicate(timeout=60)
    assert job.returncode == code, out + err
    assert (tmp_path / "requeued").exists() == requeued
    for rank, path in enumerate(started):
        assert path.read_text() == f"{rank} {rank} 2 2 node-a 20017 pretrain ours.yaml seed=2\n"


def test_the_tracked_runs_compose(tmp_path: Path) -> None:
    environment = stand_ins(tmp_path, {"plmtrain": 'printf "%q " "$@" >> "$HOME/calls"; echo >> "$HOME/calls"\n'})
    command = [SCRIPTS / "track.sh", "trainer.steps=30"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    calls = [shlex.split(line) for line in (tmp_path / "calls").read_text().splitlines()]
    settings = [settings_for(verb, words) for verb, *words in calls]
    assert [one.tracker.type for one in settings] == ["tensorboard"] * 2
    assert [one.trainer.steps for one in settings] == [30] * 2
    assert all(f"runs/{one.name}/trackers" in told for one in settings)
