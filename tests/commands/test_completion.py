"""Tab completion: the answers, and the bash script in a real bash."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from plmtrain.commands import predict
from plmtrain.commands.completion import SCRIPTS, candidates
from plmtrain.help import VERBS
from plmtrain.settings.composing.folders import choices
from plmtrain.settings.generation import GenerationSettings


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plmtrain pre", ["predict ", "prepare ", "pretrain "]),
        ("plmtrain pretrain model=ro", ["model=roberta ", "model=roberta_large "]),
        ("plmtrain pretrain seed=1 model=robe", ["model=roberta ", "model=roberta_large "]),
        ("plmtrain pretrain -m model=bert,dis", ["model=bert,distilbert "]),
        ("plmtrain pretrain trainer.ba", ["trainer.batch_size="]),
        ("plmtrain pretrain trainer.compile=", ["trainer.compile=false ", "trainer.compile=true "]),
        ("plmtrain pretrain schedule.type=co", ["schedule.type=constant ", "schedule.type=cosine "]),
        ("plmtrain pretrain mod", ["model.", "model="]),
        ("plmtrain pretrain --cfg ", ["job "]),
        ("plmtrain pretrain --mu", ["--multirun "]),
        ("plmtrain prepare --mu", []),
        ("plmtrain list m", ["matrix ", "model "]),
        ("plmtrain completion ", ["bash ", "zsh "]),
        ("plmtrain pretrain --config-dir ", []),
        ("plmtrain pretrain data.files=", []),
        ("plmtrain verify ", []),
        ("plmtrain predict runs/x --be", ["--beams "]),
        ("plmtrain evaluate --js", ["--json "]),
        ("plmtrain check --js", ["--json "]),
        ("plmtrain runs --y", ["--yes "]),
        ("plmtrain runs ", ["diff ", "rm ", "save ", "sweep "]),
        ("plmtrain predict runs/x --file ", []),
        ("plmtrain nothing x", []),
        ("", []),
    ],
)
def test_candidates(line: str, expected: list[str]) -> None:
    assert candidates(line) == expected


def test_all_verbs_groups_and_settings() -> None:
    assert candidates("plmtrain ") == sorted(f"{verb} " for verb in VERBS)
    assert {f"model={choice} " for choice in choices("model")} == set(candidates("plmtrain pretrain model="))
    assert "objective.mask_probability=" in candidates("plmtrain pretrain objective.")
    assert "model.feed_forward=" in candidates("plmtrain pretrain model.")


def test_folders_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/mine", "runs/my-other", "runs/sweeps", "runs/a b", "elsewhere/mine"):
        Path(name).mkdir(parents=True)
        if name != "runs/sweeps":
            Path(name, "status.json").write_text("{}")
    both = ["runs/mine ", "runs/my-other "]
    for verb in ("predict", "evaluate", "export", "verify", "runs rm", "runs diff runs/mine"):
        assert candidates(f"plmtrain {verb} ") == candidates(f"plmtrain {verb} ru") == both
        assert candidates(f"plmtrain {verb} runs/my") == ["runs/my-other "]
        assert candidates(f"plmtrain {verb} elsewhere/") == ["elsewhere/mine "]
    Path("runs.yaml").touch()
    Path("runs/mine/config.yaml").touch()
    assert candidates("plmtrain pretrain run") == ["runs.yaml ", "runs_dir="]
    assert candidates("plmtrain check runs/mine/") == ["runs/mine/config.yaml "]
    assert candidates("plmtrain runs ") == ["diff ", "rm ", *both, "save ", "sweep "]
    Path("runs/sweeps/seed-1/jobs").mkdir(parents=True)
    assert candidates("plmtrain runs sweep ") == candidates("plmtrain runs sweep runs/sweeps/s") == ["runs/sweeps/seed-1 "]
    assert candidates("plmtrain finetune init=runs/mi") == ["init=runs/mine "]
    assert candidates("plmtrain finetune init=") == [f"init={run}" for run in both]
    assert candidates(f"plmtrain verify {tmp_path}/runs/mi") == [f"{tmp_path}/runs/mine "]


def test_every_option_of_predict_is_offered() -> None:
    """Those that its parser knows."""
    source = Path(predict.__file__).read_text()
    own = set(re.findall(r'add_argument\("(--[a-z-]+)"', source))
    generation = {f"--{name.replace('_', '-')}" for name in GenerationSettings.model_fields}
    assert {*own, *generation} == set(VERBS["predict"].options)


def test_own_choices(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("name: mine\n")
    assert candidates(f"plmtrain pretrain --config-dir {tmp_path} model=mi") == ["model=mine "]


def test_bash_replaces_what_follows_the_equals_sign(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    program = tmp_path / "plmtrain"
    program.write_text("#!/bin/bash\nprintf 'model=roberta \\nmodel=roberta_large \\n'\n")
    program.chmod(0o755)
    script = SCRIPTS["bash"] + (
        f'COMP_LINE="plmtrain pretrain model=ro"; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({program})\n'
        "_plmtrain_complete; printf '<%s>' \"${COMPREPLY[@]}\"\n"
        "COMP_WORDBREAKS=' '; _plmtrain_complete; printf '<%s>' \"${COMPREPLY[@]}\"\n"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "<roberta ><roberta_large ><model=roberta ><model=roberta_large >"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_sound(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", "-c", SCRIPTS[shell]], check=True)


def test_each_verb_has_its_own_groups_and_settings() -> None:
    assert candidates("plmtrain finetune tas") == ["task.", "task="]
    assert candidates("plmtrain finetune task=glue/r") == ["task=glue/rte "]
    of_all_types = candidates("plmtrain finetune task.lab")
    assert {"task.label=", "task.label_as=", "task.label_smoothing=", "task.labels="} <= set(of_all_types)
    assert all(one.startswith("task.lab") for one in of_all_types)
    assert candidates("plmtrain finetune objec") == candidates("plmtrain pretrain tas") == []
    assert candidates("plmtrain finetune --mul") == ["--multirun "]


def test_zsh_offers_what_is_answered_or_else_files(tmp_path: Path) -> None:
    """The function in a real zsh, with its own builtins replaced by what tells of their calls."""
    if shutil.which("zsh") is None:
        pytest.skip("no zsh here")
    program = tmp_path / "plmtrain"
    program.write_text(
        "#!/bin/sh\n[ \"$3\" = 'plmtrain pretrain model=ro' ] && printf 'model=roberta \\nmodel=roberta_large \\n'\n"
    )
    program.chmod(0o755)
    told = 'compdef() { }; compadd() { print -r -- "$#: ${(j:|:)@}"; }; _files() { print files; }\n'
    asked = "for PREFIX in model=ro data.files=; do words=(plmtrain pretrain $PREFIX); CURRENT=3; _plmtrain_complete; done\n"
    done = subprocess.run(
        ["zsh", "-f", "-c", f"path=({tmp_path} $path)\n{told}{SCRIPTS['zsh']}{asked}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["6: -Q|-S||--|model=roberta |model=roberta_large ", "files"]
    assert done.stderr == ""
