"""Folders that are not what they should be: each is refused by a message that names what is wrong, and nothing is run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.bart_twin import twins
from support.strangers import stranger

from plmtrain.backbones import build
from plmtrain.batch import Inputs, Layout
from plmtrain.errors import CheckpointError, PlmtrainError, SettingsError
from plmtrain.interop import hugging_face
from plmtrain.interop.load import FromFolder
from plmtrain.interop.model import Model
from plmtrain.nn.heads import MaskedLMHead, Pooler
from plmtrain.settings.models.encoder import EncoderSettings

SHAPE = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 32, "positions": 12}
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    backbone = build(EncoderSettings(name="tiny", **SHAPE), 30)
    place = tmp_path / "model"
    hugging_face.save(place, Model.of([backbone, MaskedLMHead(16, 16, 30, "gelu", 1e-12)]), {"pad": 0})
    return place


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def refused(folder: Path, *words: str, kind: type[PlmtrainError] = PlmtrainError) -> None:
    with pytest.raises(kind) as caught:
        hugging_face.read(folder)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("mbart", ["norms before each sub-layer", "take a model of one of these: albert, bart, bert, camembert"]),
        ("xlm-roberta-xl", ["norms before each sub-layer", "xlm-roberta"]),
        ("llama", ["use one of: albert", "camembert", "gpt2, openai-gpt, roberta", "xlm-roberta"]),
        ("berts", ["did you mean 'bert'?"]),
    ],
)
def test_other_families_are_refused_with_a_way_on(folder: Path, model_type: str, words: list[str]) -> None:
    change_config(folder, model_type=model_type)
    refused(folder, *words, kind=SettingsError)


def test_both_ways(folder: Path) -> None:
    read = hugging_face.read(folder)
    assert read.heads.keys() == {MaskedLMHead}
    assert read.others == ()
    hugging_face.save(folder.parent / "again", read, {"pad": 0})
    for name in ("config.json", WEIGHTS):
        assert (folder.parent / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "llama"),
        ("model_type", "../bert"),
        ("model_type", ["bert"]),
        ("model_type", None),
        ("hidden_act", "swish"),
        ("hidden_act", ["gelu"]),
        ("hidden_size", -16),
        ("hidden_size", "16"),
        ("hidden_size", 17),
        ("hidden_size", 10**12),
        ("num_hidden_layers", 10**12),
        ("num_hidden_layers", 1),
        ("num_hidden_layers", 3),
        ("vocab_size", 31),
        ("vocab_size", 0),
        ("vocab_size", None),
        ("layer_norm_eps", "small"),
        ("layer_norm_eps", 0),
        ("layer_norm_eps", 10**400),
        ("layer_norm_eps", float("inf")),
        ("initializer_range", float("nan")),
        ("max_position_embeddings", 2**60),
        ("is_decoder", True),
        ("position_embedding_type", "relative_key"),
        ("tie_word_embeddings", False),
        ("auto_map", {"AutoModel": "evil.Model"}),
    ],
)
def test_config_that_does_not_fit(folder: Path, key: str, value: Any) -> None:
    change_config(folder, **{key: value})
    refused(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "nul", "[" * 100_000, '{"model_type": "bert"'])
def test_config_that_is_no_json_object(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    refused(folder, "config.json", kind=SettingsError)


def test_missing_tensor_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop("bert.encoder.layer.1.attention.self.key.bias"))
    refused(folder, "bert.encoder.layer.1.attention.self.key.bias", kind=CheckpointError)


def test_half_a_head_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop("cls.predictions.transform.dense.bias"))
    refused(folder, "cls.predictions.transform.dense.bias", kind=CheckpointError)


def test_unknown_tensor_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"bert.encoder.layer.1.adapter.weight": torch.zeros(2)}))
    refused(folder, "bert.encoder.layer.1.adapter.weight", kind=CheckpointError)


def test_wrong_shape_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"cls.predictions.bias": torch.zeros(29)}))
    refused(folder, "cls.predictions.bias", "[29]", "[30]", kind=CheckpointError)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(folder: Path, bad: float) -> None:
    change_tensors(folder, lambda tensors: tensors["bert.embeddings.LayerNorm.bias"].fill_(bad))
    refused(folder, "bert.embeddings.LayerNorm.bias", kind=CheckpointError)


def test_integers_are_no_weights(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"cls.predictions.bias": torch.zeros(30, dtype=torch.int64)}))
    refused(folder, "cls.predictions.bias", "int64", kind=CheckpointError)


def test_untied_output_layer(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"cls.predictions.decoder.weight": torch.ones(30, 16)}))
    refused(folder, "cls.predictions.decoder.weight", kind=CheckpointError)


@pytest.mark.parametrize("damage", ["empty", "cut", "long_header", "garbage", "flipped_header"])
def test_damaged_weights(folder: Path, damage: str) -> None:
    path = folder / WEIGHTS
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-100],
            "long_header": (100 * 2**20).to_bytes(8, "little") + whole[8:],
            "garbage": b"\x10\0\0\0\0\0\0\0" + b"not json at all!",
            "flipped_header": whole[:40] + bytes([whole[40] ^ 0x80]) + whole[41:],
        }[damage]
    )
    refused(folder, WEIGHTS, kind=CheckpointError)


def test_header_with_lies(folder: Path) -> None:
    """Overlapping stretches, and a shape that does not fit its bytes."""
    path = folder / WEIGHTS
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    first, second = [name for name in header if name != "__metadata__"][:2]
    for lie in (
        {first: header[first] | {"data_offsets": header[second]["data_offsets"]}},
        {first: header[first] | {"shape": [7, 7]}},
        {first: header[first] | {"data_offsets": [0, 2**62]}},
    ):
        text = json.dumps(header | lie).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + body)
        refused(folder, WEIGHTS, kind=CheckpointError)


class _Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


@pytest.mark.parametrize("name", [WEIGHTS, "pytorch_model.bin", "config.json"])
def test_pickles_are_never_run(folder: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(pickle.dumps(_Bomb(canary)))
    refused(folder)
    assert not canary.exists()


def sharded(folder: Path, names: dict[str, str] | None = None) -> None:
    """Split the weights into two files and an index; ``names`` replaces what the index says of some tensors."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    index = {name: files[number % 2] for number, name in enumerate(tensors)}
    for file in files:
        save_file({name: tensors[name] for name in tensors if index[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index | (names or {})}))


def test_sharded_weights(folder: Path) -> None:
    whole = hugging_face.read(folder)
    sharded(folder)
    parts = hugging_face.read(folder)
    for name, tensor in whole.backbone.state_dict().items():
        assert torch.equal(parts.backbone.state_dict()[name], tensor)


@pytest.mark.parametrize(
    "path", ["../outside.safetensors", "/etc/passwd", "sub/x.safetensors", "pytorch_model.bin", "gone.safetensors"]
)
def test_an_index_cannot_lead_out(folder: Path, path: str) -> None:
    sharded(folder, {"cls.predictions.bias": path})
    save_file({"cls.predictions.bias": torch.zeros(30)}, folder.parent / "outside.safetensors")
    refused(folder)


def test_an_index_of_something_else(folder: Path) -> None:
    sharded(folder)
    for weight_map in (None, [], {"a": 1}):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        refused(folder, "weight_map", kind=SettingsError)


def test_links_lead_out_only_in_the_hubs_cache(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.safetensors"
    (folder / WEIGHTS).rename(secret)
    (folder / WEIGHTS).symlink_to(secret)
    refused(folder, "link", kind=SettingsError)

    snapshot, blobs = tmp_path / "models--a" / "snapshots" / "1234", tmp_path / "models--a" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name, source in (("config.json", folder / "config.json"), (WEIGHTS, secret)):
        source.rename(blobs / name)
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert hugging_face.read(snapshot).heads.keys() == {MaskedLMHead}


def test_old_names_of_norms_and_saved_position_ids(folder: Path) -> None:
    def age(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[old] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(12)[None]
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()

    whole = hugging_face.read(folder)
    change_tensors(folder, age)
    aged = hugging_face.read(folder)
    assert aged.others == ()
    for name, tensor in whole.backbone.state_dict().items():
        assert torch.equal(aged.backbone.state_dict()[name], tensor)


def test_half_precision_weights_become_fp32(folder: Path) -> None:
    def halve(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].half()

    change_tensors(folder, halve)
    assert {parameter.dtype for parameter in hugging_face.read(folder).backbone.parameters()} == {torch.float32}


def test_a_backbone_without_a_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone, pooler = build(EncoderSettings(name="tiny", **SHAPE), 30), Pooler(16)
    hugging_face.save(tmp_path, Model.of([backbone, pooler]), {"pad": 0})
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertModel"]
    read = hugging_face.read(tmp_path)
    assert read.heads.keys() == {Pooler}
    assert torch.equal(read.heads[Pooler].dense.weight, pooler.dense.weight)
    with pytest.raises(SettingsError, match="no language-model head") as caught:
        FromFolder(read)(torch.zeros(1, 3, dtype=torch.int64))
    assert "a backbone, a pooler" in str(caught.value)


def test_a_shallower_decoder_is_read_and_written(tmp_path: Path) -> None:
    """As in DistilBART: https://huggingface.co/docs/transformers names its layers so, and other widths are still refused."""
    theirs, ours = twins(3, decoder_layers=1)
    theirs.save_pretrained(tmp_path / "theirs")
    read = hugging_face.read(tmp_path / "theirs")
    assert (read.settings.layers, read.settings.decoder_layers, read.settings.blocks) == (3, 1, 4)
    ids = torch.randint(3, 97, (2, 9), generator=torch.Generator().manual_seed(0))
    inputs = Inputs(ids=ids, decoder=Inputs(ids=ids, layout=Layout(causal=True)))
    expected = theirs(input_ids=ids, decoder_input_ids=ids).logits
    for backbone in (read.backbone, ours):
        scores = torch.nn.functional.linear(backbone.hidden(inputs), backbone.output_weight)
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)
    hugging_face.save(tmp_path / "ours", Model.of([read.backbone]), {"bos": 0, "pad": 1, "eos": 2})
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert (written["encoder_layers"], written["decoder_layers"]) == (3, 1)
    change_config(tmp_path / "theirs", decoder_ffn_dim=40)
    refused(tmp_path / "theirs", "decoder_ffn_dim is 40, expected 48, as in the encoder")


def test_a_classifier_is_told_not_read(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"classifier.weight": torch.zeros(2, 16)}))
    assert hugging_face.read(folder).others == ("classifier.weight",)


@pytest.mark.parametrize(
    ("family", "changes", "word"),
    [
        ("bert", {"embedding_width": 8}, "model.embedding_width=null"),
        ("bert", {"segments": 0}, "model.segments"),
        ("bert", {"position_offset": 2}, "model.position_offset=0"),
        ("roberta", {}, "model.position_offset"),
        ("roberta", {"position_offset": 2, "activation": "gelu_tanh"}, "model.activation=gelu"),
        ("albert", {}, "model.shared_layers=True"),
        ("electra", {"activation": "gelu_tanh"}, "model.activation=gelu"),
        ("distilbert", {"norm_eps": 1e-5, "segments": 0}, "model.norm_eps"),
        ("distilbert", {}, "model.segments=0"),
    ],
)
def test_what_transformers_cannot_compute_is_not_written(tmp_path: Path, family: str, changes: dict[str, Any], word: str) -> None:
    backbone = build(EncoderSettings(name="odd", family=family, **(SHAPE | changes)), 30)
    with pytest.raises(SettingsError) as caught:
        hugging_face.save(tmp_path / "out", Model.of([backbone]), {})
    assert word in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["OpenAIGPTLMHeadModel", "GPT2LMHeadModel"])
def test_causal_masks_of_old_files_are_no_weights(name: str, tmp_path: Path) -> None:
    """The published files of GPT-1 and GPT-2 have them, as older versions of transformers saved them."""
    model = stranger(tmp_path, name)
    masks = torch.ones(40, 40).tril()[None, None]

    def age(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {f"transformer.h.{layer}.attn.bias": masks.clone() for layer in range(2)}
        tensors |= {f"transformer.h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in range(2)}

    change_tensors(tmp_path, age)
    read = hugging_face.read(tmp_path)
    assert read.others == ()
    with torch.no_grad():
        ids = torch.arange(5, 17)[None]
        expected = model(ids).logits
        ours = read.backbone.hidden(Inputs(ids=ids)) @ read.backbone.embedding_weight.t()
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    change_tensors(tmp_path, lambda tensors: tensors.update({"transformer.h.2.attn.scale": torch.ones(1)}))
    refused(tmp_path, "h.2.attn.scale")


@pytest.mark.parametrize(
    ("key", "value"), [("afn", "gelu_new"), ("afn", "silu"), ("embd_pdrop", 0.3), ("tie_word_embeddings", False)]
)
def test_keys_of_gpt1_that_do_not_fit(tmp_path: Path, key: str, value: Any) -> None:
    stranger(tmp_path, "OpenAIGPTLMHeadModel")
    change_config(tmp_path, **{key: value})
    refused(tmp_path, key)
