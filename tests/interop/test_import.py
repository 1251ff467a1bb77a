"""``plmtrain import``: strangers' folders of every class, both ways; and those that are refused, of which nothing is left."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.finished_run import TEXTS
from support.strangers import CLASSES, stranger
from torch import Tensor

import plmtrain
from plmtrain import cli

WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=CLASSES)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A class, its folder, and what was imported."""
    place = tmp_path_factory.mktemp("import")
    stranger(place / "theirs", request.param)
    texts = ["--texts=text"] if "Classification" in request.param else []
    assert cli.main(["import", str(place / "theirs"), str(place / "ours"), *texts]) == 0
    return request.param, place / "theirs", place / "ours"


def test_every_tensor_is_equal(folders: tuple[str, Path, Path], tmp_path: Path) -> None:
    name, theirs, ours = folders
    assert cli.main(["export", str(ours), str(tmp_path / "back")]) == 0
    expected = load_file(theirs / WEIGHTS)
    for folder in (ours, tmp_path / "back"):
        found = load_file(folder / WEIGHTS)
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.equal(found[key], tensor), key
        assert json.loads((folder / "config.json").read_text())["architectures"] == [name]


def test_transformers_finds_the_same_model(folders: tuple[str, Path, Path]) -> None:
    name, theirs, ours = folders
    before = getattr(transformers, name).from_pretrained(theirs).eval()
    after, report = getattr(transformers, name).from_pretrained(ours, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    same = before.config.to_dict() | {"_name_or_path": "", "transformers_version": ""}
    found = after.config.to_dict() | {"_name_or_path": "", "transformers_version": ""}
    # What says how the weights began, and a dropout that is the model's where nothing is said.
    told_otherwise = {"sinusoidal_pos_embds", "classifier_dropout"}
    if name.startswith("XLM"):  # theirs has no names of languages, and takes another token for the mask in one of two keys
        told_otherwise |= {"embed_init_std", "lang2id", "id2lang", "mask_token_id"}
    if name.startswith("Deberta"):  # -1 is the number of positions, the terms have another order, and a default is written
        told_otherwise |= {"max_relative_positions", "pos_att_type", "cls_dropout"}
    if name.startswith("T5"):  # positions are relative: plmtrain's greatest length is a key of its own
        told_otherwise |= {"n_positions"}
    assert {key: value for key, value in found.items() if same.get(key) != value and key not in told_otherwise} == {}
    ids = torch.cat([torch.randint(5, 60, (3, 11)), torch.full((3, 1), 2)], dim=1)  # BART's classifier wants an end
    written = {"decoder_input_ids": ids} if name.startswith("T5") else {}
    with torch.no_grad():
        for one, other in zip(before(ids, **written).to_tuple(), after.eval()(ids, **written).to_tuple(), strict=True):
            assert not isinstance(one, Tensor) or torch.equal(one, other)


def test_the_tokenizer_comes_along(folders: tuple[str, Path, Path]) -> None:
    _, theirs, ours = folders
    before, after = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (theirs, ours))
    assert after.all_special_tokens == before.all_special_tokens
    for text in TEXTS:
        assert before(text)["input_ids"] == after(text)["input_ids"]


def test_it_serves_where_a_run_does(folders: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    name, _, ours = folders
    tokens = transformers.AutoTokenizer.from_pretrained(ours)
    text = f"the low {'<extra_id_0>' if name.startswith('T5') else tokens.mask_token} lay"
    capsys.readouterr()
    code = cli.main(["predict", str(ours), "--json", text])
    told = capsys.readouterr()
    if name == "XLMWithLMHeadModel":
        assert cli.main(["predict", str(ours), "--json", f"language1: {text}"]) == 0
        told, code = capsys.readouterr(), 0
    if name in ("BertModel", "ElectraForPreTraining", "XLMModel"):
        assert code == 2
        assert "offers a backbone" in told.err
        return
    assert code == 0
    answer = json.loads(told.out)
    if "MaskedLM" in name:
        expected = transformers.pipeline("fill-mask", str(ours), top_k=5)(text)
        assert [guess["probability"] for guess in answer["masks"][0]] == pytest.approx(
            [one["score"] for one in expected], rel=1e-3
        )
    elif "Classification" in name:
        (found,) = transformers.pipeline("text-classification", str(ours), top_k=None)(["the low lay"])
        assert cli.main(["predict", str(ours), "--json", "the low lay"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["probabilities"] == pytest.approx({one["label"]: one["score"] for one in found}, rel=1e-3)


def test_weights_in_several_files(tmp_path: Path) -> None:
    model = stranger(tmp_path / "theirs", "BertForMaskedLM")
    (tmp_path / "theirs" / WEIGHTS).unlink()
    model.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert not (tmp_path / "theirs" / WEIGHTS).exists()
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    found = load_file(tmp_path / "ours" / WEIGHTS)
    for key, tensor in model.state_dict().items():
        assert key.startswith("cls.predictions.decoder") or torch.equal(found[key], tensor)


# Warnings.


def test_missing_special_tokens_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger(tmp_path / "theirs", "BertForMaskedLM")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = tmp_path / "theirs" / name
        path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "mask_token"}))
    path = tmp_path / "theirs" / "tokenizer.json"
    path.write_text(path.read_text().replace("[MASK]", "[HIDE]"))
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    assert "no token for: mask" in capsys.readouterr().err
    ids = torch.tensor([[2, 7, 8, 3]])
    assert torch.equal(plmtrain.load(tmp_path / "ours").logits(ids), plmtrain.load(tmp_path / "theirs").logits(ids))


def test_a_folder_without_a_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger(tmp_path / "theirs", "RobertaForMaskedLM")
    for path in (tmp_path / "theirs").glob("*token*"):
        path.unlink()
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    assert "no tokenizer" in capsys.readouterr().err
    assert plmtrain.load(tmp_path / "ours").logits(torch.tensor([[0, 7, 8, 2]])).shape[1] == 4


def test_tensors_that_nobody_knows_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger(tmp_path / "theirs", "BertForMaskedLM")
    change_tensors(tmp_path / "theirs", lambda tensors: tensors.update({"adapter.weight": torch.zeros(2)}))
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    assert "adapter.weight" in capsys.readouterr().err
    assert "adapter.weight" not in load_file(tmp_path / "ours" / WEIGHTS)


# Hostile folders.


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


class _Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(folder.parent / "canary")))


def own_code(folder: Path) -> None:
    (folder / "modeling.py").write_text(f"open({str(folder.parent / 'canary')!r}, 'w')")
    change_config(folder, auto_map={"AutoModel": "modeling.Model"}, trust_remote_code=True)


def own_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["tokens.Mine", None]}}))


def leads_out(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
    names = load_file(folder.parent / "outside.safetensors")
    index = {"weight_map": dict.fromkeys(names, "../outside.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def link_out(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
    (folder / WEIGHTS).symlink_to(folder.parent / "outside.safetensors")


def tokenizer_link_out(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder.parent / "outside.json")
    (folder / "tokenizer.json").symlink_to(folder.parent / "outside.json")


def sentencepiece_link_out(folder: Path) -> None:
    (folder.parent / "outside.model").write_bytes(b"a secret")
    (folder / "spiece.model").symlink_to(folder.parent / "outside.model")


def config_link_out(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "outside.json")
    (folder / "config.json").symlink_to(folder.parent / "outside.json")


def long_header(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.write((100 * 2**20).to_bytes(8, "little"))


def truly_long_header(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.write((100 * 2**20).to_bytes(8, "little"))
        file.truncate(101 * 2**20)  # no block of it is on the disk


def other_kind(folder: Path) -> None:
    """The right number of bytes, said to be whole numbers."""
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content.replace(b'"dtype":"F32"', b'"dtype":"I32"', 1))


def no_number(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors["cls.predictions.bias"][3:4].fill_(float("nan")))


def more_tokens(folder: Path) -> None:
    change_config(folder, vocab_size=99)
    names = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")
    change_tensors(folder, lambda tensors: tensors.update({name: tensors[name][:99].clone() for name in names}))


def endless(folder: Path) -> None:
    change_config(folder, num_hidden_layers=10**8)


def no_layers(folder: Path) -> None:
    change_config(folder, num_hidden_layers=0)


def deep_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[" * 100_000)


def expanding_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    stage = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 30}
    normalizer = {"type": "Sequence", "normalizers": [stage] * 30}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": normalizer}))


def absolute_name(folder: Path) -> None:
    change_config(folder, model_type="/etc/passwd")


@pytest.mark.parametrize(
    "harm",
    [
        pickled,
        own_code,
        own_tokenizer,
        leads_out,
        link_out,
        tokenizer_link_out,
        sentencepiece_link_out,
        config_link_out,
        long_header,
        truly_long_header,
        other_kind,
        no_number,
        more_tokens,
        endless,
        no_layers,
        deep_tokenizer,
        expanding_tokenizer,
        absolute_name,
    ],
)
def test_hostile_folders_are_refused(harm: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger(tmp_path / "theirs", "BertForMaskedLM")
    harm(tmp_path / "theirs")
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    begun = time.monotonic()
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) in (2, 3, 4)
    assert time.monotonic() - begun < 5
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    told = capsys.readouterr().err
    assert 1 <= len(told.strip().splitlines()) <= 3


def test_pickles_are_refused_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger(tmp_path / "theirs", "BertForMaskedLM")
    pickled(tmp_path / "theirs")
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 2
    assert "save_pretrained" in capsys.readouterr().err


def test_special_tokens_are_no_patterns(tmp_path: Path) -> None:
    """A special token that would take a backtracking engine for ever is a few letters like any other."""
    stranger(tmp_path / "theirs", "BertForMaskedLM")
    path = tmp_path / "theirs" / "tokenizer.json"
    values = json.loads(path.read_text())
    bomb = "(a+)+$"
    values["added_tokens"].append(values["added_tokens"][0] | {"id": 5, "content": bomb})
    vocabulary = values["model"]["vocab"]
    vocabulary[bomb] = vocabulary.pop(next(piece for piece, number in vocabulary.items() if number == 5))
    path.write_text(json.dumps(values))
    begun = time.monotonic()
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    tokens = plmtrain.load(tmp_path / "ours").tokenizer
    assert 5 in tokens.encode_with_specials(f"x {bomb} y")[0]
    tokens.encode(["a" * 50_000 + "!"])
    assert time.monotonic() - begun < 5


def test_nothing_of_theirs_is_copied_unread(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    stranger(theirs, "BertForMaskedLM")
    for name in ("modeling.py", "notes.txt", "training_args.bin"):
        (theirs / name).write_text("x")
    path = theirs / "tokenizer_config.json"
    own = {"name_or_path": "/data/someone/secret", "tokenizer_file": "/data/someone/tokenizer.json"}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    assert cli.main(["import", str(theirs), str(tmp_path / "ours")]) == 0
    for path in (tmp_path / "ours").iterdir():
        assert path.name in {
            WEIGHTS,
            "config.json",
            "README.md",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
        }
        assert b"someone" not in path.read_bytes()


def test_a_run_is_no_hugging_face_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("model: {}")
    assert cli.main(["import", str(tmp_path / "run"), str(tmp_path / "ours")]) == 2
    assert "is a run" in capsys.readouterr().err
