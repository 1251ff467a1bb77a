"""What is in a run's folder, under what name, and what never is."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest

from plmtrain.errors import DiskError, SettingsError
from plmtrain.training.run_folder import RunFolder, safe_name

SECRET = "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"


class TestNames:
    NASTY = (
        "../../x",
        "/etc/passwd",
        "-rf",
        "a\nb",
        "🎉",
        "x" * 300,
        "한" * 100,
        "",
        ".",
        "..",
        "~",
        "a/b",
        "a\\b",
        "\x00",
        "a b",
        "$(x)",
        "CON:",
        "\udcff",
    )

    @pytest.mark.parametrize("name", NASTY)
    def test_any_name_stays_below_the_runs_folder(self, tmp_path: Path, name: str) -> None:
        folder = RunFolder.below(tmp_path / "runs", name).create().path
        assert folder.parent == tmp_path / "runs"
        assert folder.resolve().parent == (tmp_path / "runs").resolve()
        assert folder.is_dir()
        assert not folder.name.startswith(("-", "."))
        assert folder.name.isprintable()
        assert len(folder.name.encode()) <= 120

    def test_two_names_never_share_a_folder(self) -> None:
        names = (*self.NASTY, *("y" * length for length in range(110, 140)), "a_b", "a:b", "a?b", "x", "rf", "b")
        assert len({safe_name(name) for name in names}) == len(names)

    def test_what_looks_like_a_secret_is_in_no_folder_s_name(self) -> None:
        secret = "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
        names = [f"{secret}{end}" for end in ("", "-lr=1", "x")] + [f"run-api_key={word}" for word in ("hunter22", "hunter23")]
        folders = {safe_name(name) for name in names}
        assert len(folders) == len(names)
        assert not any(word in folder for folder in folders for word in (secret[3:20], "hunter"))

    @pytest.mark.parametrize("name", ["roberta-dynamic_mlm-1a2b3c4d", "lr=1e-4,seed=3", "v1.2", "한국어"])
    def test_an_ordinary_name_stays_as_it_is(self, name: str) -> None:
        assert safe_name(name) == name


class TestStatus:
    def test_what_was_said_last(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path)
        assert run.status() == {}
        run.write_status("running", step=3)
        run.write_status("failed", 5, "the loss is not finite", step=4, loss=math.nan)
        status = RunFolder(tmp_path).status()
        assert (status["state"], status["exit_code"], status["reason"], status["step"]) == (
            "failed",
            5,
            "the loss is not finite",
            4,
        )
        assert math.isnan(status["loss"])
        json.loads(run.status_path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert [path.name for path in tmp_path.iterdir()] == ["status.json"]

    def test_a_run_keeps_its_id_and_another_has_another(self, tmp_path: Path) -> None:
        first = RunFolder(tmp_path / "a").create()
        first.write_status("preparing")
        again = RunFolder(tmp_path / "a")
        again.write_status("running")
        assert again.run_id == first.run_id == again.status()["run_id"]
        assert RunFolder(tmp_path / "b").run_id != first.run_id

    def test_a_damaged_status_is_an_empty_one(self, tmp_path: Path) -> None:
        (tmp_path / "status.json").write_text('{"state"')
        assert RunFolder(tmp_path).status() == {}

    def test_a_folder_that_is_gone_is_a_disk_error(self, tmp_path: Path) -> None:
        with pytest.raises(DiskError):
            RunFolder(tmp_path / "gone").write_status("running")


class TestConfig:
    def test_settings_come_back(self, tmp_path: Path) -> None:
        values = {
            "optimizer": {"lr": 1e-5, "eps": 1e-12, "betas": [0.9, 0.98], "clip_norm": None},
            "seed": 2**62,
            "name": "yes",
            "text": "1e3",
            "date": "2020-01-01",
            "unicode": "한국어: #x",
            "empty": {},
            "flag": False,
        }
        run = RunFolder(tmp_path)
        run.write_config(values)
        assert run.config() == values
        assert run.exists

    def test_what_is_no_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="is not a run"):
            RunFolder(tmp_path).config()

    @pytest.mark.parametrize(
        "text",
        [
            "a: !!python/object/apply:os.system ['touch CANARY']",
            "a: !!python/name:os.system",
            "a: &a [x]\nb: [*a, *a]",
            "a: [",
            "- 1",
            "",
            "\x00",
            "[" * 100_000,
            "a: " + "x" * 2**21,
        ],
        ids=lambda text: text[:12],
    )
    def test_yaml_that_is_more_than_plain_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(SettingsError):
            RunFolder(tmp_path).config()


class TestLog:
    def test_tracebacks_are_whole_and_secrets_masked(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path)
        with run.log() as log:
            try:
                raise ValueError(f"no access with {SECRET}")
            except ValueError:
                log.exception("failed")
            logging.getLogger("plmtrain.training").info("한 step")
        text = run.log_path.read_text(encoding="utf-8")
        assert "Traceback" in text
        assert "test_run_folder.py" in text
        assert "한 step" in text
        assert SECRET not in text
        log.info("afterwards")
        assert "afterwards" not in run.log_path.read_text(encoding="utf-8")

    def test_a_resumed_run_goes_on_with_the_log(self, tmp_path: Path) -> None:
        for word in ("first", "second"):
            with RunFolder(tmp_path).log() as log:
                log.info(word)
        assert "first" in RunFolder(tmp_path).log_path.read_text()


def test_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_config({"data": {"files": [f"https://u:{SECRET}@host/x"], "hub_token": "hunter22"}})
    run.write_status("failed", 3, f"cannot read https://u:hunter22@host with {SECRET}", argument=f"hub.token={SECRET}")
    with run.log() as log:
        log.info("password=hunter22 %s", SECRET)
    for path in tmp_path.rglob("*"):
        assert SECRET not in path.read_text()
        assert "hunter22" not in path.read_text()
