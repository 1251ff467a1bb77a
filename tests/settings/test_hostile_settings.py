"""Settings from strangers: nothing runs, nothing is imported, nothing is read from the environment; each is told in a line."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings, settings_from_run

CANARY = "PLMTRAIN_HOSTILE_CANARY"

TARGETS = [
    "os.system",
    "os.popen",
    "subprocess.Popen",
    "subprocess.run",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "builtins.open",
    "builtins.compile",
    "shutil.rmtree",
    "importlib.import_module",
    "runpy.run_path",
    "pickle.loads",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "numpy.load",
    "joblib.load",
    "yaml.unsafe_load",
    "transformers.AutoModel.from_pretrained",
    "hydra.utils.instantiate",
    "hydra.utils.call",
    "posix.system",
    "pty.spawn",
    "code.interact",
    "ctypes.CDLL",
    "webbrowser.open",
    "urllib.request.urlopen",
    "antigravity.fly",
    "this.s",
]

SPECIAL_KEYS = ["_target_", "_args_", "_partial_", "_convert_", "_recursive_", "__class__", "_hidden"]

ON_THE_COMMAND_LINE = [
    *(f"model._target_={target}" for target in TARGETS),
    *(f"optimizer.{key}=all" for key in SPECIAL_KEYS),
    *(f"objective.inner.{key}=1" for key in SPECIAL_KEYS),
    *(f"+{key}=x" for key in SPECIAL_KEYS),
    *(f"++trainer.{key}=x" for key in SPECIAL_KEYS),
    "_target_=os.system",
    "trainer.phases=[{steps: 10, _target_: os.system}]",
    "trainer.phases=[{steps: 10, objective: {_target_: torch.load}}]",
    "model={_target_: os.system, command: touch x}",
    "data.files={_target_: os.listdir}",
    "name={_target_: os.getcwd}",
    "hydra.run.dir=/tmp/elsewhere",
    "hydra.searchpath=[file:///tmp]",
    "hydra/launcher=basic",
    "hydra/job_logging=none",
    "hydra.callbacks.x={_target_: os.system}",
    "+hydra.callbacks.x._target_=os.system",
    "hydra=null",
    "~model",
    "~trainer.steps",
    "model@other=bert",
    "model=../../../../etc/passwd",
    "model=/etc/passwd",
    "model='../model/bert'",
    "name=${oc.env:HOME}",
    "name=${oc.env:PATH}",
    "name='${oc.env:HOME}'",
    "name=${oc.decode:x}",
    "name=${oc.create:{}}",
    "name=${hydra:runtime.cwd}",
    "name=${now:%Y}",
    "name=${python_version:}",
    "name=${name}${oc.env:HOME}",
    "name=${${seed}}",
    "name='${'",
    "runs_dir=${oc.deprecated:seed}",
    "seed=${seed}",
    "name=${runs_dir.x.y}",
    "trainer.steps=range(1,3)",
    "trainer.steps=choice(1,2)",
    "trainer.steps=glob(*)",
    "trainer.steps=1,2",
    "trainer.steps=str(",
    "trainer.steps=[[[[[",
    "trainer.steps={a:{b:{c",
    "trainer.steps='",
    "=",
    "=5",
    "trainer.=5",
    ".steps=5",
    "trainer..steps=5",
    "trainer[steps]=5",
    "trainer.steps",
    "\x00=1",
    "name\n=1",
    "objective.type=plmtrain.cli",
    "objective.type=../masked_lm",
    "objective.type=os",
    "model.type=__init__",
    "model.type=base",
    "model.name=../../x",
    "data.name=-rf",
    "objective.name='a/b'",
    "seed=NaN",
    "optimizer.lr=inf",
    "optimizer.lr=nan",
    "trainer.steps=1e400",
    "trainer.steps=999999999999999999999999999999.5",
    "seed=99999999999999999999999999",
    "trainer.steps=" + "[" * 3000,
    "data.files=[" + "a," * 120_000 + "a]",
]


def refused(overrides: list[str], config_dir: str | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        pretrain_settings(compose(overrides, config_dir))
    return str(caught.value)


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What a sound composition imports is no work of the hostile ones."""
    pretrain_settings(compose([]))
    refused(["trainer.stpes=1"])


def test_there_are_enough() -> None:
    assert len(set(ON_THE_COMMAND_LINE)) >= 80


@pytest.mark.parametrize("override", ON_THE_COMMAND_LINE, ids=lambda text: ascii(text)[:60])
def test_the_command_line_is_refused_and_nothing_is_imported(override: str) -> None:
    before, start = set(sys.modules), time.monotonic()
    message = refused([override])
    new = {name for name in set(sys.modules) - before if not name.startswith(("antlr4", "hydra", "omegaconf", "encodings"))}
    assert new == set()
    assert time.monotonic() - start < 2
    for error in message.split("\n\n"):
        assert len(error.splitlines()) == 3, error
        assert all(len(line) < 400 for line in error.splitlines()), error
    assert not any(word in message for word in ("Traceback", "hydra.cc", "omegaconf", "HYDRA_FULL_ERROR", "OverrideParse"))


@pytest.mark.parametrize("target", TARGETS)
def test_a_user_file_is_refused(tmp_path: Path, target: str) -> None:
    before = set(sys.modules)
    write(tmp_path, "optimizer/mine", f"defaults: [adamw, _self_]\nextra:\n  _target_: {target}\n  command: touch {CANARY}\n")
    message = refused(["optimizer=mine"], str(tmp_path))
    assert "_target_" in message
    assert "mine.yaml" in message
    assert set(sys.modules) == before
    assert not Path(CANARY).exists()


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

FILES = {
    "bomb": (BOMB, "anchors"),
    "merge key": ("base: &base {lr: 1}\n<<: *base\n", "anchors"),
    "python tag": ("lr: !!python/object/apply:os.system ['touch x']\n", "tags"),
    "own tag": ("lr: !mine 1\n", "tags"),
    "large": ("# " + "x" * 50_000_000, "bytes"),
    "deep": ("lr: " + "[" * 20_000, ""),
    "environment": ("lr: ${oc.env:HOME}\n", "interpolation"),
    "environment in a list": ("betas: [0.9, '${oc.env:HOME,0.9}']\n", "interpolation"),
    "nested resolver": ("lr: ${${oc.env:HOME}}\n", "interpolation"),
    "relative": ("lr: ${..seed}\n", "interpolation"),
    "half an interpolation": ("lr: ${seed\n", "interpolation"),
    "own package": ("# @package hydra.callbacks\nlr: 1\n", "package"),
    "package too late": ("# Mine.\n# @package _global_\noptimizer: {lr: 1}\n", "first line"),
    "hydra": ("# @package _global_\nhydra: {run: {dir: x}}\n", "Hydra"),
    "hydra in defaults": ("defaults: [{override /hydra/launcher: basic}]\n", "defaults"),
    "interpolated defaults": ("defaults: ['${model}']\n", "no such file"),
    "path in defaults": ("defaults: [../../../etc/passwd]\n", "no such file"),
    "defaults is no list": ("defaults: adamw\n", "list"),
    "number key": ("1: 2\n", "not text"),
    "a list": ("- lr\n", "key: value"),
    "no yaml": ("lr: [1,\n", "YAML"),
    "nul": ("lr: \0\n", ""),
    "duplicate of itself": ("defaults: [mine]\nlr: [x]\n", ""),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_hostile_file_is_told_quickly_and_in_a_line(tmp_path: Path, kind: str) -> None:
    text, word = FILES[kind]
    write(tmp_path, "optimizer/mine", text)
    start = time.monotonic()
    message = refused(["optimizer=mine"], str(tmp_path))
    assert time.monotonic() - start < 1.5
    assert word in message
    assert str(tmp_path) in message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_bytes(b"lr: \xff\xfe\n")
    assert "cannot be read" in refused(["optimizer=mine"], str(tmp_path))


def test_a_hostile_file_that_is_reached_through_another(tmp_path: Path) -> None:
    write(tmp_path, "experiment/good", "# @package _global_\ndefaults:\n  - override /optimizer: bad\n  - _self_\n")
    write(tmp_path, "optimizer/bad", "_target_: os.system\n")
    message = refused(["experiment=good"], str(tmp_path))
    assert "bad.yaml" in message


def test_a_hostile_file_that_is_not_chosen_harms_nobody(tmp_path: Path) -> None:
    write(tmp_path, "optimizer/bad", "_target_: os.system\n")
    write(tmp_path, "optimizer/good", "defaults: [adamw, _self_]\nlr: 0.5\n")
    assert pretrain_settings(compose(["optimizer=good"], str(tmp_path))).optimizer.lr == 0.5


def test_settings_of_hydra_in_a_user_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "hydra/launcher/mine", "_target_: os.system\n")
    write(tmp_path, "optimizer/good", "defaults: [adamw, _self_]\n")
    assert "Hydra itself" in refused(["optimizer=good"], str(tmp_path))


@pytest.mark.parametrize("key", SPECIAL_KEYS)
def test_a_run_that_was_downloaded_is_judged_like_a_stranger(key: str) -> None:
    values = pretrain_settings(compose([])).model_dump(mode="json")
    values["model"][key] = "os.system"
    with pytest.raises(SettingsErrors, match="refused"):
        settings_from_run(values)
