"""Every launch line of docs/cluster.md is one that its launcher takes, and starts what plmtrain takes."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from support.documents import ROOT, blocks

from plmtrain.errors import Stopped
from plmtrain.runs.command_settings import kind_for
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import run_settings

LINES = [
    shlex.split(line)
    for block in blocks(ROOT / "docs" / "cluster.md")
    if block.language == "text"
    for line in block.text.replace("\\\n", " ").splitlines()
]
JOB = ROOT / "scripts" / "kubernetes.yaml"


def lines_of(*launcher: str) -> list[list[str]]:
    """The command lines of a launcher, without its name."""
    lines = [line[len(launcher) :] for line in LINES if tuple(line[: len(launcher)]) == launcher]
    assert lines
    return lines


def assert_composes(verb: str, words: Sequence[str]) -> None:
    """What plmtrain gets is valid; the user's own file has no more to say in a test."""
    overrides = [word for word in words if not word.endswith(".yaml")]
    kind = kind_for(verb, overrides)
    run_settings(compose(overrides, None, kind.primary), kind)


def test_torchrun_takes_its_lines() -> None:
    from torch.distributed.run import get_args_parser

    for line in lines_of("torchrun"):
        taken = get_args_parser().parse_args(line)
        assert taken.module
        assert taken.training_script == "plmtrain"
        assert_composes(taken.training_script_args[0], taken.training_script_args[1:])


def test_accelerate_takes_its_lines() -> None:
    from accelerate.commands.launch import launch_command_parser

    for line in lines_of("accelerate", "launch"):
        taken = launch_command_parser().parse_args(line)
        assert taken.module
        assert taken.training_script == "plmtrain"
        assert not taken.use_fsdp
        assert int(taken.num_processes) % int(taken.num_machines or 1) == 0
        assert_composes(taken.training_script_args[0], taken.training_script_args[1:])


def test_the_slurm_script_is_bash_and_its_options_are_sbatch_s() -> None:
    ((*options, script, verb),) = [
        line[: next(at for at, word in enumerate(line) if word == "pretrain") + 1] for line in lines_of("sbatch")
    ]
    assert all(option.startswith("--") for option in options)
    assert (ROOT / script).is_file()
    assert verb == "pretrain"
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    text = (ROOT / script).read_text("utf-8")
    assert f'"$code" -eq {Stopped.exit_code}' in text
    assert "scontrol requeue" in text


def test_the_kubernetes_job_replaces_pods_that_were_stopped() -> None:
    service, job = yaml.safe_load_all(JOB.read_text("utf-8"))
    assert lines_of("kubectl") == [["apply", "-f", str(JOB.relative_to(ROOT))]]
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    rules = {rule["action"]: rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"]}
    assert rules["Ignore"]["values"] == [Stopped.exit_code]
    assert Stopped.exit_code not in rules["FailJob"]["values"]
    assert {rule["containerName"] for rule in rules.values()} == {container["name"]}
    assert pod["restartPolicy"] == "Never"  # a policy of failures needs it
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert {"WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} == set(given)
    assert int(given["WORLD_SIZE"]) == spec["completions"] == spec["parallelism"]
    assert spec["completionMode"] == "Indexed"
    assert given["MASTER_ADDR"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert_composes(container["args"][0], container["args"][1:])


def test_the_kubernetes_command_passes_its_words_and_its_exit_code_on(tmp_path: Path) -> None:
    _, job = yaml.safe_load_all(JOB.read_text("utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (tmp_path / "plmtrain").write_text('#!/bin/sh\necho "$RANK $*"\nexit 75\n')
    (tmp_path / "plmtrain").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": "1"}
    ended = subprocess.run([*container["command"], "pretrain", "a b"], env=environment, capture_output=True, text=True)
    assert (ended.stdout, ended.returncode) == ("1 pretrain a b\n", Stopped.exit_code)


@pytest.mark.parametrize("launcher", ["submitit_slurm", "joblib"])
def test_the_lines_of_sweeps_are_valid(launcher: str) -> None:
    (line,) = [line for line in lines_of("plmtrain") if f"hydra/launcher={launcher}" in line]
    options = parse_arguments(line[1:])
    assert options.multirun
    assert_composes(line[0], [word.partition(",")[0] for word in options.overrides if not word.startswith("hydra")])
