"""The command line: quick, light, and never at a loss for three lines."""

from __future__ import annotations

import errno
import importlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from plmtrain import cli, help
from plmtrain.errors import DataError, DiskError, MemoryExhausted, understood
from plmtrain.runs.command_settings import kind_for
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings, run_settings, settings_from_run

HEAVY = ("torch", "accelerate", "transformers", "datasets", "wandb", "tokenizers")


def modules_after(*arguments: str) -> tuple[int, set[str]]:
    """The exit code of a command line in a fresh process, and the modules that it imported."""
    program = "import json, sys; from plmtrain.cli import main; code = main(sys.argv[1:]); "
    program += "print(); print(json.dumps([code, list(sys.modules)]))"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["pretrain", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_next_to_nothing(arguments: list[str]) -> None:
    code, modules = modules_after(*arguments)
    assert code == 0
    assert not modules & {*HEAVY, "hydra", "omegaconf", "pydantic", "numpy", "rich", "yaml"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pretrain", "model=robreta", "trainer.stpes=3"], 2),
        (["pretrain", "--cfg", "job"], 0),
        (["list", "matrix"], 0),
        (["list", "trainer.batch_size"], 0),
        (["runs"], 0),
        (["completion", "query", "plmtrain pretrain trainer."], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_are_told_without_torch(arguments: list[str], expected: int) -> None:
    code, modules = modules_after(*arguments)
    assert code == expected
    assert not modules & set(HEAVY)
    if arguments[0] in ("list", "completion"):
        assert "hydra" not in modules


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP shows its settings; other systems have other libraries")
@pytest.mark.parametrize(
    ("asked", "rounds"),
    [({}, "0"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000"), ({"GOMP_SPINCOUNT": "77"}, "77")],
    ids=["unasked", "policy", "rounds"],
)
def test_waiting_threads_sleep_unless_the_user_says_otherwise(asked: dict[str, str], rounds: str) -> None:
    program = "import contextlib\nfrom plmtrain import cli\nwith contextlib.suppress(SystemExit): cli.console()\nimport torch"
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment = {**clean, **asked, "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"], env=environment, capture_output=True, text=True, check=True
    )
    assert f"GOMP_SPINCOUNT = '{rounds}'" in done.stderr


def test_a_mistake_is_on_standard_error_and_exits_2() -> None:
    done = subprocess.run([sys.executable, "-m", "plmtrain", "pretrain", "trainer.stpes=3"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "there is no setting 'trainer.stpes'",
        "command line: trainer.stpes=3",
        "did you mean 'trainer.steps'?",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pretrian"], "did you mean 'pretrain'?"),
        (["model=roberta"], "plmtrain pretrain model=roberta"),
        (["pretrain", "--config-dri", "x"], "did you mean '--config-dir'?"),
        (["pretrain", "--config-dir", "nowhere"], "there is no folder 'nowhere'"),
        (["pretrain", "--config-dir"], "there is no folder ''"),
        (["pretrain", "--cfg", "hydra"], "write --cfg job"),
        (["pretrain", "--cfg", "job", "-m", "seed=1,2"], "not a sweep"),
        (["prepare", "-m", "seed=1,2"], "plmtrain prepare takes one set of settings"),
        (["pretrain", "hello"], "write KEY=VALUE"),
        (["list", "modles"], "did you mean 'model'?"),
        (["completion", "fihs"], "use one of: bash, zsh"),
        (["\x00\n"], "there is no verb"),
        (["evaluate", "--hepl"], "did you mean '--help'?"),
        (["evaluate", "runs/x", "--jsn"], "did you mean '--json'?"),
        (["verify", "--jsno", "x"], "did you mean '--json'?"),
        (["export", "a", "b", "--prat=x"], "plmtrain export has no option '--prat'"),
        (["import", "--force", "a", "b"], "plmtrain import has no option '--force'"),
        (["list", "--jsno"], "did you mean '--json'?"),
        (["completion", "--shell", "bash"], "plmtrain completion has no option '--shell'"),
        (["predict", "x", "--bems", "4"], "did you mean '--beams'?"),
        (["runs", "rm", "--yse", "x"], "did you mean '--yes'?"),
        (["--hepl"], "did you mean '--help'?"),
    ],
)
def test_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert words in told
    assert len(told.splitlines()) == 3


def test_an_argument_that_is_not_utf_8(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in help.VERBS:
        assert cli.main([verb, "a", os.fsdecode(b"caf\xe9")]) == 2
        assert capsys.readouterr().err.splitlines() == [
            "an argument is not UTF-8",
            r"command line: argument 3, caf\xe9",
            "write it in UTF-8; if it names a file, rename that",
        ]


@pytest.mark.parametrize("name", [b"removed", b"caf\xe9"])
def test_a_working_folder_that_cannot_be_used(
    name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    monkeypatch.chdir(folder)
    if name == b"removed":
        folder.rmdir()
    for verb in help.VERBS:
        assert cli.main([verb]) == 2
        assert "working folder" in capsys.readouterr().err.splitlines()[0]
    assert cli.main(["--help"]) == 0


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    from plmtrain import __version__

    assert cli.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    for verb in help.VERBS:
        assert cli.main([verb, "--help"]) == 0
        assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize("verb", help.VERBS)
def test_every_verb_is_there(verb: str) -> None:
    assert callable(importlib.import_module(f"plmtrain.commands.{verb}").run)


EXAMPLES = [
    command
    for verb in help.VERBS.values()
    if verb.composes
    for command, _ in verb.examples
    if not set(shlex.split(command)) & set(verb.options)  # these compose nothing, as "tokenizer extend"
]


@pytest.mark.parametrize("command", [command for command in EXAMPLES if " -m " not in command])
def test_examples_compose(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, verb, *words = shlex.split(command)
    assert program == "plmtrain"
    words = [word for word in words if "=" in word or " " not in word]  # inspect also takes texts
    monkeypatch.chdir(tmp_path)
    for file in (word for word in words if word.endswith(".yaml")):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("model: roberta\nsize: small\n")
    kind = kind_for(verb, words)
    run_settings(compose(words, primary=kind.primary), kind)


def test_cfg_job_is_yaml_that_makes_the_same_settings(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [
        "model=roberta",
        "size=tiny",
        "trainer.phases=[{steps: 2000, sequence_length: 64}]",
        "name='a: b # c'",
        "data.validation_files=[no]",
    ]
    assert cli.main(["pretrain", *overrides, "--cfg", "job"]) == 0
    text = capsys.readouterr().out
    assert settings_from_run(yaml.safe_load(text)) == pretrain_settings(compose(overrides))
    lines = {line.split(":")[0].strip(): line for line in text.splitlines()}
    assert lines["width"].endswith("# conf/size/tiny.yaml")
    assert lines["embedding_width"].endswith("# conf/model/roberta.yaml")
    assert "# command line: trainer.phases=" in lines["phases"]


def test_cfg_job_masks_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    secret = "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
    words = ["tracker=wandb", f"tracker.project={secret}", "data=text", "data.files=['https://me:hunter22@host/a.txt']"]
    assert cli.main(["pretrain", *words, "--cfg", "job"]) == 0
    text = capsys.readouterr().out
    assert secret not in text  # neither as a value nor as its origin
    assert "hunter22" not in text
    assert "project: " in text
    assert "@host/a.txt" in text


@pytest.mark.parametrize(
    "words", [["finetune"], ["pretrain", "data=text"], ["finetune", "task=regression"], ["pretrain", "data=jsonl"]]
)
def test_cfg_job_needs_no_files(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--cfg", "job"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "# The run needs data.files, too."
    assert yaml.safe_load(text)["data"]["files"] == []
    # Anything else that is wrong is still told.
    assert cli.main([*words, "--cfg", "job", "trainer.batch_size=-1"]) == 2


def test_a_single_run_composes_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["pretrain", "size=tiny", "--cfg", "job"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_options_may_stand_anywhere(tmp_path: Path) -> None:
    options = parse_arguments(["seed=1", "--config-dir", str(tmp_path), "-m", "trainer.steps=2"])
    assert options.overrides == ("seed=1", "trainer.steps=2")
    assert options.config_dir == str(tmp_path)
    assert options.multirun


def _broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr("plmtrain.commands.list.run", run)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("bad line", "file:3", "mend it"), 3),
        (MemoryError(), 6),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes"), 6),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 6),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 7),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 7),
        (OSError(errno.EROFS, "Read-only file system", "runs/x"), 7),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300), 2),
        (RuntimeError("Symlink loop from '/runs/loop'"), 2),
        (KeyboardInterrupt(), 75),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_failures_have_their_exit_code_and_no_traceback(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _broken(monkeypatch, error)
    assert cli.main(["list"]) == code
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert 1 <= len(told.splitlines()) <= 3


def test_kinds_of_failure() -> None:
    memory = understood(MemoryError())
    assert isinstance(memory, MemoryExhausted)
    for setting in ("trainer.micro_batch_size=auto", "trainer.activation_checkpointing=true", "trainer.sharding=full"):
        assert setting in memory.remedy
    assert isinstance(understood(OSError(errno.ENOSPC, "full", "x")), DiskError)
    assert understood(ValueError("ours")) is None
    assert understood(FileNotFoundError(errno.ENOENT, "no such file")) is None


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _broken(monkeypatch, ZeroDivisionError("what a pity"))
    assert cli.main(["list"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "ZeroDivisionError: what a pity" in lines[0]
    place = Path(lines[1].split(": ", 1)[1])
    assert "Traceback" in place.read_text()
    place.unlink()
    monkeypatch.setenv("PLMTRAIN_DEBUG", "1")
    assert cli.main(["list"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list | head -1", "list | true", "--help | true"])
def test_a_reader_that_leaves_is_no_failure(command: str) -> None:
    script = f"set -o pipefail; {shlex.quote(sys.executable)} -m plmtrain {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""


SECRET = "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"


@pytest.mark.parametrize(
    "arguments",
    [
        [SECRET],
        ["pretrain", f"hub_token={SECRET}"],
        ["pretrain", f"model={SECRET}"],
        ["pretrain", f"name=[{SECRET}]"],
        ["pretrain", f"{SECRET}.yaml"],
        ["finetune", "task=sst2", f"init={SECRET}"],
        ["verify", f"runs/{SECRET}"],
        ["predict", SECRET, "a text"],
        ["predict", f"--{SECRET}"],
        ["check", "data=text", f"data.files=[https://me:{SECRET}@host/x.txt]"],
        ["check", "data=text", f"data.files=[/nowhere/{SECRET}.txt]", "--json"],
    ],
    ids=lambda words: " ".join(words).replace(SECRET, "SECRET"),
)
def test_a_message_does_not_repeat_a_secret(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) in (2, 3)
    told = "".join(capsys.readouterr())
    assert SECRET not in told
    assert "***" in told
    assert not [path for path in tmp_path.rglob("*") if SECRET in str(path)]


@pytest.mark.parametrize("debug", ["0", "1"])
def test_a_traceback_does_not_repeat_a_secret(
    debug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLMTRAIN_DEBUG", debug)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.report_error(RuntimeError(f"no access with {SECRET}")) == 1
    told = capsys.readouterr().err + "".join(path.read_text("utf-8") for path in tmp_path.iterdir())
    assert "no access with ***" in told
    assert SECRET not in told
