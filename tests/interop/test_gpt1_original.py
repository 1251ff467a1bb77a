"""GPT-1's original files: laid out here as the authors' code writes them, from the weights of transformers' class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from support.strangers import stranger
from torch import nn

import plmtrain
from plmtrain import cli

TEXTS = ("The low fog lay over the lower town.", "Don't! (1,234.5) 한국어 café")
LAYERS = 2
ADDED = ("_start_", "_delimiter_", "_classify_")


def originals(place: Path, *, trained_for_tasks: bool = True) -> nn.Module:
    """Write the files into a folder.

    Args:
        place: the folder.
        trained_for_tasks: whether the vocabulary has the three tokens of fine-tuning, as the published one has not.

    The order is that of the variables in the authors' train.py: positions, then tokens, then the blocks, in each of which the
    layers' weights have the shape [1, in, out].
    """
    theirs = stranger(place.parent / "theirs", "OpenAIGPTLMHeadModel")
    weights = theirs.state_dict()
    model = json.loads((place.parent / "theirs" / "tokenizer.json").read_text("utf-8"))["model"]
    if not trained_for_tasks:
        model["vocab"] = {piece: number for piece, number in model["vocab"].items() if piece not in ADDED}
        weights["transformer.tokens_embed.weight"] = weights["transformer.tokens_embed.weight"][: len(model["vocab"])]
    names = ["positions_embed.weight", "tokens_embed.weight"]
    for layer in range(LAYERS):
        for part in ("attn.c_attn", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2"):
            names += [f"h.{layer}.{part}.weight", f"h.{layer}.{part}.bias"]
    arrays = [weights[f"transformer.{name}"].numpy() for name in names]
    shapes = [
        list(array.shape) if array.ndim == 1 or "embed" in name else [1, *array.shape]
        for name, array in zip(names, arrays, strict=True)
    ]
    place.mkdir()
    (place / "params_shapes.json").write_text(json.dumps(shapes))
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    for number, shard in enumerate(np.split(flat, [1000, 1001, 9000])):
        np.save(place / f"params_{number}.npy", shard)
    (place / "encoder_bpe.json").write_text(json.dumps(model["vocab"]), "utf-8")
    merges = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"]), ""]
    (place / "vocab.bpe").write_text("\n".join(merges), "utf-8")
    return theirs


def test_they_become_a_folder_with_the_same_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = originals(tmp_path / "original")
    ours = tmp_path / "ours"
    assert cli.main(["import", str(tmp_path / "original"), str(ours)]) == 2
    assert "heads=NUMBER" in capsys.readouterr().err
    assert cli.main(["import", str(tmp_path / "original"), str(ours), "heads=3"]) == 0
    assert "OpenAIGPTLMHeadModel" in capsys.readouterr().out
    assert "gpt1 from its authors' files" in (ours / "README.md").read_text("utf-8")
    ids = torch.arange(1, 31).reshape(2, 15)
    back = transformers.AutoModelForCausalLM.from_pretrained(ours).eval()
    with torch.no_grad():
        expected = theirs(ids).logits
        assert torch.equal(back(ids).logits, expected)
    torch.testing.assert_close(plmtrain.load(ours).logits(ids), expected, atol=1e-4, rtol=1e-4)
    before = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    after = transformers.AutoTokenizer.from_pretrained(ours)
    own = plmtrain.load(ours).tokenizer
    for text in TEXTS:
        wanted = before(text, add_special_tokens=False)["input_ids"]
        assert after(text, add_special_tokens=False)["input_ids"] == own.encode([text])[0][0].tolist() == wanted


def test_the_published_vocabulary_writes_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no token that ends a text: all continuations have the greatest length."""
    originals(tmp_path / "original", trained_for_tasks=False)
    assert cli.main(["import", str(tmp_path / "original"), str(tmp_path / "ours"), "heads=3"]) == 0
    assert "runs that start from the model add them" in capsys.readouterr().err
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    for beams in (1, 3):
        assert (
            cli.main(["predict", str(tmp_path / "ours"), "--json", "--beams", str(beams), "--max-new-tokens", "7", TEXTS[0]]) == 0
        )
        written = theirs.generate(
            **tokens(TEXTS[0], return_tensors="pt"), num_beams=beams, do_sample=False, max_new_tokens=7, eos_token_id=None
        )
        whole = TEXTS[0] + json.loads(capsys.readouterr().out)["continuation"]
        assert tokens(whole)["input_ids"] == tokens(tokens.decode(written[0]))["input_ids"]


class Canary:
    """Creates a file if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def pickled(folder: Path) -> None:
    np.save(folder / "params_1.npy", np.array([Canary(folder / "run")], dtype=object), allow_pickle=True)


def zipped(folder: Path) -> None:
    np.savez(folder / "params_1", np.zeros(1, np.float32))
    (folder / "params_1.npz").rename(folder / "params_1.npy")


def longer_than_the_file(folder: Path) -> None:
    path = folder / "params_3.npy"
    header = np.lib.format.header_data_from_array_1_0(np.load(path))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (2**50,)})


def one_number_less(folder: Path) -> None:
    np.save(folder / "params_3.npy", np.load(folder / "params_3.npy")[:-1])


def no_number(folder: Path) -> None:
    shard = np.load(folder / "params_2.npy")
    shard[5] = np.nan
    np.save(folder / "params_2.npy", shard)


def linked(folder: Path) -> None:
    (folder / "params_0.npy").rename(folder.parent / "elsewhere.npy")
    (folder / "params_0.npy").symlink_to(folder.parent / "elsewhere.npy")


def with_shapes(change: Callable[[list[list[int]]], object]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        shapes = json.loads((folder / "params_shapes.json").read_text())
        change(shapes)
        (folder / "params_shapes.json").write_text(json.dumps(shapes))

    return harm


@pytest.mark.parametrize(
    ("harm", "code", "words"),
    [
        (pickled, 4, "params_1.npy"),
        (zipped, 4, "not a flat array"),
        (longer_than_the_file, 4, "params_3.npy"),
        (one_number_less, 4, "the shards have"),
        (no_number, 4, "not finite"),
        (linked, 2, "leads out"),
        (lambda folder: (folder / "params_1.npy").unlink(), 4, "params_1.npy is missing"),
        (lambda folder: (folder / "vocab.bpe").write_text("zz zz\n"), 3, "vocab.bpe"),
        (with_shapes(lambda shapes: shapes.pop()), 4, "12 for each block"),
        (with_shapes(lambda shapes: shapes[1].__setitem__(0, 2**40)), 4, "list of shapes"),
        (with_shapes(lambda shapes: shapes[1].__setitem__(0, 2**27)), 4, "wants"),
        (with_shapes(lambda shapes: shapes.insert(2, shapes.pop(3))), 4, "c_attn.weight is"),
    ],
)
def test_damaged_files_are_refused(
    harm: Callable[[Path], object], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    originals(tmp_path / "original")
    harm(tmp_path / "original")
    assert cli.main(["import", str(tmp_path / "original"), str(tmp_path / "ours"), "heads=3"]) == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "ours").exists()
    assert not (tmp_path / "original" / "run").exists()
