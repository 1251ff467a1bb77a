"""Exports that are refused, end early or would compute something else, and heads that an export has no place for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.command_line import plmtrain as command
from support.finished_run import finished_run

import plmtrain
from plmtrain import cli
from plmtrain.batch import Inputs
from plmtrain.interop import hugging_face, publishing
from plmtrain.training.restore import load_run


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run") / "run"
    finished_run(place, ["model=bert", "objective=mlm"])
    return place


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".command"))


def test_a_weight_that_breaks_on_the_way_is_found(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = publishing.foreign.read

    def break_one(folder: Path) -> Any:
        path = folder / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-3] ^= 0x01  # the lowest bit of an exponent, or a mantissa's highest
        path.write_bytes(content)
        return read(folder)

    monkeypatch.setattr(publishing.foreign, "read", break_one)
    assert cli.main(["export", str(run), str(tmp_path / "out")]) == 4
    assert left_in(tmp_path) == []


def test_another_computation_is_found(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = publishing.foreign.read

    def other_norms(folder: Path) -> Any:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"layer_norm_eps": 1e-3}))
        return read(folder)

    monkeypatch.setattr(publishing.foreign, "read", other_norms)
    assert cli.main(["export", str(run), str(tmp_path / "out")]) == 4
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("place", ["file", "folder", "link"])
def test_nothing_is_overwritten(run: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    if place == "file":
        out.write_text("mine")
    elif place == "folder":
        out.mkdir()
        (out / "mine").touch()
    else:
        out.symlink_to(tmp_path / "nowhere")
    assert cli.main(["export", str(run), str(out)]) == 2
    assert "already" in capsys.readouterr().err
    assert left_in(tmp_path) == ["out"]
    assert place != "file" or out.read_text() == "mine"


def test_an_empty_folder_is_free(run: Path, tmp_path: Path) -> None:
    assert cli.main(["export", str(run), str(tmp_path)]) == 0
    assert (tmp_path / "config.json").is_file()


@pytest.mark.parametrize(("fault", "code"), [("export:term", 75), ("export:enospc", 7), ("export:raise", 1)])
def test_an_export_that_ends_early_leaves_nothing(run: Path, tmp_path: Path, fault: str, code: int) -> None:
    assert command("export", str(run), "out", cwd=tmp_path, fault=fault).code == code
    assert left_in(tmp_path) == []


def test_what_a_killed_export_left_goes_with_the_next_one(run: Path, tmp_path: Path) -> None:
    assert command("export", str(run), "out", cwd=tmp_path, fault="export:kill9").code < 0
    (tmp_path / "out.01234567.tmp.mine").mkdir()
    assert [place for place in left_in(tmp_path) if place.endswith(".tmp")]
    assert command("export", str(run), "out", cwd=tmp_path).code == 0
    assert sorted(left_in(tmp_path)) == ["out", "out.01234567.tmp.mine"]


def test_mistakes_are_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([str(run)], "HF_FOLDER"),
        ([str(run), str(tmp_path / "out"), "part=generator"], "no part 'generator'"),
        ([str(tmp_path / "gone"), str(tmp_path / "out")], "is not a run"),
        ([str(run), str(tmp_path / "out"), "--force"], "no option '--force'"),
    ):
        assert cli.main(["export", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert left_in(tmp_path) == []


def test_what_transformers_cannot_compute_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run(tmp_path / "run", ["model=roberta", "objective=mlm", "model.activation=gelu_tanh"])
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 2
    assert "model.activation=gelu" in capsys.readouterr().err
    assert left_in(tmp_path) == ["run"]


def test_no_secret_reaches_the_card(tmp_path: Path) -> None:
    canary = "hf_" + "aB3" * 8
    finished_run(tmp_path / "run", ["model=bert", "objective=mlm", f"tracker.project={canary}", f"runs_dir={tmp_path}/secret"])
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("name: mlm", f"name: {canary}"))
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert canary not in card
    assert "secret" not in card


def test_a_discriminator_is_exported_with_its_whole_table_and_its_head_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is the generator's and its own (He et al. 2021, section 3.3); transformers reads the model, plmtrain both."""
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, "model=deberta_v3_small objective=rtd objective.share_embeddings=gradient_disentangled".split())
    assert cli.main(["export", str(run), str(out)]) == 0
    told = "DebertaV2Model, and a head for replaced tokens by its authors' names, which it does not read"
    assert told in " ".join(capsys.readouterr().out.split())
    assert "Beside it, by its authors' names" in (out / "README.md").read_text("utf-8")
    learner = load_run(run).learner
    theirs, report = transformers.AutoModel.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert all(name.startswith("mask_predictions") for name in report["unexpected_keys"])
    table = theirs.embeddings.word_embeddings.weight
    torch.testing.assert_close(table, learner.generator.embedding_weight + learner.backbone.token.offset)
    ids = torch.randint(5, 60, (3, 11), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = theirs.eval()(ids).last_hidden_state
        torch.testing.assert_close(states, learner.backbone.encode(Inputs(ids=ids)), atol=1e-5, rtol=1e-4)
        read = hugging_face.read(out)
        (head,) = read.heads.values()
        expected = learner.discriminator_logits(Inputs(ids=ids))
        torch.testing.assert_close(head(read.backbone.encode(Inputs(ids=ids))), expected, atol=1e-5, rtol=1e-4)


def test_a_generator_with_a_mask_decoder_keeps_its_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its authors' names, with which plmtrain fills masks from the folder as from the run."""
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, "model=deberta_v3_small objective=rtd objective.share_embeddings=gradient_disentangled".split())
    assert cli.main(["export", str(run), str(out), "part=generator"]) == 0
    assert "DebertaV2Model, and a language-model head by its authors' names" in " ".join(capsys.readouterr().out.split())
    ids = torch.randint(5, 60, (3, 11), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plmtrain.load(out).logits(ids), plmtrain.load(run).logits(ids), atol=1e-4, rtol=1e-4)
    assert cli.main(["predict", str(out), "the [MASK] river"]) == 0


def test_a_head_that_transformers_knows_no_place_for_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, ["model=bert", "objective=spanbert"])
    assert cli.main(["export", str(run), str(out)]) == 0
    told = "a head for what lies between two tokens"
    assert f"BertForMaskedLM, without {told}, for which it has no place" in " ".join(capsys.readouterr().out.split())
    assert f"Not in these files, since BertForMaskedLM has no place for it: {told}." in (out / "README.md").read_text("utf-8")
    assert not any("boundary" in name for name in load_file(out / "model.safetensors"))
