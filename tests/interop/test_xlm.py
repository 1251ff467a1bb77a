"""XLM's folders: languages, rows that are told apart by their padding, older files, and its tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from support.finished_run import randomised
from support.strangers import stranger, tokenizer

import plmtrain
from plmtrain.errors import DataError, SettingsError
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.interop import hugging_face
from plmtrain.text.tokenizer import Tokenizer

IDS = torch.tensor([[1, 20, 21, 22, 1, 1, 30, 31, 1], [1, 25, 1, 2, 2, 2, 2, 2, 2]])
POSITIONS = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3], [0, 1, 2, 0, 0, 0, 0, 0, 0]])
LANGUAGES = torch.tensor([[0] * 5 + [2] * 4, [1] * 9])


@pytest.mark.parametrize(
    "given", [(), ("langs",), ("attention_mask",), ("langs", "position_ids"), ("attention_mask", "langs", "position_ids")]
)
def test_logits_with_and_without_each_input(given: tuple[str, ...], tmp_path: Path) -> None:
    """Without languages nothing is added, and without a mask padding is still not seen."""
    torch.set_num_threads(1)
    theirs = stranger(tmp_path, "XLMWithLMHeadModel").eval()
    inputs = {"langs": LANGUAGES, "position_ids": POSITIONS, "attention_mask": (IDS != 2).long()}
    chosen = {name: inputs[name] for name in given}
    with torch.no_grad():
        expected = theirs(IDS, **chosen).logits
    found = plmtrain.load(tmp_path).logits(IDS, **chosen)
    real = IDS != 2
    assert (found - expected)[real].abs().max() < 1e-5 * max(1.0, float(expected.abs().max()))


def test_a_causal_model_reads_and_writes_as_theirs(tmp_path: Path) -> None:
    """No score depends on what is to the right, as in transformers' class with the same setting."""
    torch.set_num_threads(1)
    theirs = stranger(tmp_path / "theirs", "XLMWithLMHeadModel", causal=True).eval()
    mask = (IDS != 2).long()
    with torch.no_grad():
        expected = theirs(IDS, attention_mask=mask, langs=LANGUAGES).logits
    loaded = plmtrain.load(tmp_path / "theirs")
    real = IDS != 2
    found = loaded.logits(IDS, attention_mask=mask, langs=LANGUAGES)
    assert (found - expected)[real].abs().max() < 1e-5 * max(1.0, float(expected.abs().max()))
    read = hugging_face.read(tmp_path / "theirs")
    assert read.settings.causal
    hugging_face.save(tmp_path / "ours", read, {"pad": 2, "bos": 0, "eos": 1, "mask": 5, "unk": 3})
    again = transformers.XLMWithLMHeadModel.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(IDS, attention_mask=mask, langs=LANGUAGES).logits[real], expected[real])


@pytest.mark.parametrize(
    ("key", "value"), [("summary_type", "last"), ("summary_activation", "tanh"), ("summary_proj_to_labels", False)]
)
def test_a_sentence_head_of_another_form_is_refused(key: str, value: object, tmp_path: Path) -> None:
    stranger(tmp_path, "XLMForSequenceClassification", **{key: value})
    with pytest.raises(SettingsError, match=key):
        hugging_face.read(tmp_path)


def test_languages_have_names_and_come_back(tmp_path: Path) -> None:
    shape = {"emb_dim": 24, "n_layers": 2, "n_heads": 3, "max_position_embeddings": 40}
    names = {"en": 0, "de": 2, "ko": 1}
    config = transformers.XLMConfig(
        vocab_size=60, n_langs=3, lang2id=names, id2lang={str(n): name for name, n in names.items()}, **shape
    )
    randomised(transformers.XLMWithLMHeadModel(config)).save_pretrained(tmp_path / "theirs")
    read = hugging_face.read(tmp_path / "theirs")
    assert read.settings.languages == ("en", "ko", "de")
    hugging_face.save(tmp_path / "ours", read, {"pad": 2, "bos": 0, "eos": 1, "mask": 5, "unk": 3})
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert written["lang2id"] == names
    assert (written["mask_index"], written["pad_token_id"], written["n_langs"]) == (5, 2, 3)
    again = transformers.XLMWithLMHeadModel.from_pretrained(tmp_path / "ours")
    assert torch.equal(again.transformer.lang_embeddings.weight, read.backbone.get_parameter("embeddings.segment.weight"))


def test_older_files(tmp_path: Path) -> None:
    """The published folders say n_words and pad_index."""
    stranger(tmp_path, "XLMWithLMHeadModel")
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    for new, old in {"vocab_size": "n_words", "pad_token_id": "pad_index"}.items():
        values[old] = values.pop(new)
    path.write_text(json.dumps(values))
    read = hugging_face.read(tmp_path)
    assert read.backbone.vocabulary_size == values["n_words"]
    assert (read.roles["pad"], read.roles["mask"]) == (2, 5)


WRONG = {
    "causal": "yes",
    "asm": True,
    "is_encoder": False,
    "lang2id": {"a": 7, "b": 1, "c": 2},
    "use_lang_emb": "yes",
    "gelu_activation": 1,
}


@pytest.mark.parametrize(("key", "value"), WRONG.items())
def test_what_is_no_model_of_ours_is_refused(key: str, value: object, tmp_path: Path) -> None:
    stranger(tmp_path, "XLMWithLMHeadModel")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(SettingsError, match=key):
        hugging_face.read(tmp_path)


def test_inputs_that_cannot_be(tmp_path: Path) -> None:
    stranger(tmp_path, "XLMWithLMHeadModel")
    loaded = plmtrain.load(tmp_path)
    with pytest.raises(DataError, match="langs from 0 to 3"):
        loaded.logits(IDS, langs=torch.full_like(IDS, 3) * (IDS > 5))
    with pytest.raises(SettingsError, match="token_type_ids"):
        loaded.logits(IDS, token_type_ids=torch.zeros_like(IDS))


def test_auto_tokenizer_loads_ours(tmp_path: Path) -> None:
    ours = tokenizer("xlm")
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    roles = ours.vocabulary.roles
    assert {name: roles[name] for name in ("bos", "cls", "sep", "pad", "unk", "mask")} == {
        "bos": 0, "cls": 1, "sep": 1, "pad": 2, "unk": 3, "mask": 5,
    }  # fmt: skip
    assert theirs.mask_token == "<special1>"
    assert theirs.convert_ids_to_tokens(list(range(14))) == list(TOKENIZER_FAMILIES["xlm"].first)
    for text in ("the low lay", "Straße 집"):
        ((ids, _),) = ours.encode([text])
        assert theirs(text)["input_ids"] == [1, *ids.tolist(), 1]
        assert theirs(text, text)["input_ids"] == [1, *ids.tolist(), 1, 1, *ids.tolist(), 1]
    assert Tokenizer.load(tmp_path).family == "xlm"


def test_pieces_that_need_a_program_are_refused(tmp_path: Path) -> None:
    """XLM's own tokenizer cuts text into words by Moses' rules before its pieces are looked up."""
    (tmp_path / "vocab.json").write_text(
        json.dumps({"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3, "th": 4, "e</w>": 5, "the</w>": 6})
    )
    (tmp_path / "merges.txt").write_text("t h\nth e</w>\n")
    with pytest.raises(DataError, match="needs code of its own"):
        Tokenizer.load(tmp_path)
