"""Reading tokenizers from Hugging Face folders, in any of their file formats, without transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from plmtrain.errors import DataError
from plmtrain.families import ROLES, TOKENIZER_FAMILIES, WORD_END, tokenizer_family_of
from plmtrain.files import read_bytes, read_text
from plmtrain.json_files import DamagedJson, read_object
from plmtrain.text.tokenizer_limits import require_harmless

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIALS_FILE = "special_tokens_map.json"
SENTENCEPIECE_FILES = tuple(sorted({row.sentencepiece_file for row in TOKENIZER_FAMILIES.values()}))
"""Not read to make a tokenizer, only kept beside it: transformers' T5, ALBERT and XLNet and the originals' code take it."""

GENERAL_CLASS = "PreTrainedTokenizerFast"
"""The class of transformers that takes ``tokenizer.json`` as it is, whatever the family."""

_LARGEST = 64 * 2**20  # bytes of a tokenizer's file: the largest published ones, of 256,000 pieces, have half of it

Definition = dict[str, Any]
"""The content of ``tokenizer.json``: the stages, the model with its vocabulary, the special tokens."""


def read_folder(folder: Path) -> tuple[Definition, dict[str, Any]]:
    """Return the definition and the configuration of the tokenizer in a folder.

    Raises:
        DataError: if there is no tokenizer that can be read.
    """
    config = _read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
    if (folder / SPECIALS_FILE).is_file():
        config |= {key: token for key, token in _read_json(folder / SPECIALS_FILE).items() if key not in config}
    if (folder / TOKENIZER_FILE).is_file():
        definition = _read_json(folder / TOKENIZER_FILE)
        if not isinstance(definition.get("model"), dict) or not definition["model"].get("vocab"):
            raise DataError(
                "this is not a tokenizer file", f"{folder / TOKENIZER_FILE}: no vocabulary in it", "save the tokenizer again"
            )
    elif (folder / "vocab.txt").is_file():
        definition = _from_word_pieces(folder / "vocab.txt", config)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        definition = from_merges(folder / "vocab.json", folder / "merges.txt", config)
    else:
        raise DataError(
            "there is no tokenizer here",
            f"{folder}: neither {TOKENIZER_FILE} nor vocab.txt nor vocab.json with merges.txt",
            "name the folder of a tokenizer; SentencePiece's .model files must be saved as tokenizer.json by transformers first",
        )
    definition.setdefault("added_tokens", [])  # as the library reads a file without them
    require_harmless(definition, str(folder))
    return definition, config


def read_sentencepiece(folder: Path) -> bytes | None:
    """Return what SentencePiece's file in a folder holds, if there is one.

    Raises:
        DataError: if it is far larger than any such file.
    """
    path = next((folder / name for name in SENTENCEPIECE_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    if (size := path.stat().st_size) > _LARGEST:
        raise DataError(f"{path.name} has {size:,} bytes, which no such file needs", str(path), "copy it again, or remove it")
    return read_bytes(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, _LARGEST)
    except DamagedJson as error:
        raise DataError("this file is damaged", f"{path}: {error}", "copy or save it again") from None


def _read_text(path: Path) -> str:
    if (size := path.stat().st_size) > _LARGEST:
        raise DataError("this file is damaged", f"{path}: {size:,} bytes, more than such a file needs", "copy or save it again")
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise DataError("this file is damaged", f"{path}: {error}", "copy or save it again") from None


def _from_word_pieces(path: Path, config: dict[str, Any]) -> Definition:
    """Read BERT's format: one piece per line."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = _read_text(path).removesuffix("\n").split("\n")
    vocabulary = {piece.rstrip("\r"): number for number, piece in enumerate(pieces)}
    engine = Tokenizer(models.WordPiece(vocabulary, unk_token=content(config.get("unk_token")) or "[UNK]"))
    try:
        engine.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=config.get("tokenize_chinese_chars", True),
            strip_accents=config.get("strip_accents"),
            lowercase=config.get("do_lower_case", True),
        )
    except TypeError as error:
        raise DataError("this file is damaged", f"{path.with_name(CONFIG_FILE)}: {error}", "copy or save it again") from None
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece(prefix="##")
    return _with_specials(engine, vocabulary, config)


def from_merges(vocabulary_path: Path, merges_path: Path, config: dict[str, Any]) -> Definition:
    """Read the format of GPT-1, GPT-2 and RoBERTa.

    Args:
        vocabulary_path: the file with ids by piece.
        merges_path: the file with the merges in order.
        config: the tokenizer's configuration.

    Raises:
        DataError: if the files are damaged, or the pieces need code of their own.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocabulary = _read_json(vocabulary_path)
    marks_ends = any(piece.endswith(WORD_END) for piece in vocabulary)
    if marks_ends and tokenizer_family_of(vocabulary) != "gpt1":
        # Their text is first cut into words by a program (Moses). Without it the ids would be wrong, without any error.
        raise DataError(
            "the pieces of this tokenizer end in </w>: it needs code of its own to cut text into words, as XLM's does",
            f"{vocabulary_path}",
            "the model itself can be read: remove the tokenizer's files from the folder, and give it token ids of your own",
        )
    try:
        # Pieces may have characters that other functions take for line ends.
        lines = [line.removesuffix("\r") for line in _read_text(merges_path).split("\n")]
        pairs = (line.split(" ") for line in lines if line and not line.startswith("#version"))
        merges = [(left, right) for left, right in pairs]
        word_ends = {"unk_token": "<unk>", "end_of_word_suffix": WORD_END} if marks_ends else {}
        engine = Tokenizer(models.BPE(vocabulary, merges, **word_ends))
    except Exception as error:  # the library raises bare Exception
        raise DataError("this file is damaged", f"{merges_path}: {error}", "copy or save it again") from None
    if marks_ends:
        # As transformers' class for GPT-1, whose authors used ftfy and spaCy.
        engine.normalizer = normalizers.BertNormalizer(lowercase=True)
        engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        engine.decoder = decoders.BPEDecoder(suffix=WORD_END)
    else:
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=config.get("add_prefix_space", False))
        engine.decoder = decoders.ByteLevel()
    return _with_specials(engine, vocabulary, config)


def _with_specials(engine: Any, vocabulary: dict[str, int], config: dict[str, Any]) -> Definition:
    """Return the definition with the special tokens that the vocabulary has, and with the family's row format."""
    from tokenizers import AddedToken, processors

    family = TOKENIZER_FAMILIES[tokenizer_family_of(_by_id(vocabulary))]
    named = [token for role in ROLES if (token := content(config.get(f"{role}_token")))]
    specials = sorted({token for token in (*family.specials, *named) if token in vocabulary}, key=vocabulary.__getitem__)
    mask = content(config.get("mask_token")) or family.roles.get("mask")
    engine.add_special_tokens(
        [AddedToken(token, lstrip=family.mask_takes_space and token == mask, normalized=False) for token in specials]
    )
    if all(token in vocabulary for token in family.placed):
        engine.post_processor = processors.TemplateProcessing(
            single=family.template(1),
            pair=family.template(2),
            special_tokens=[(token, vocabulary[token]) for token in family.placed],
        )
    definition: Definition = json.loads(engine.to_str())
    return definition


def _by_id(vocabulary: dict[str, int]) -> list[str]:
    return sorted(vocabulary, key=vocabulary.__getitem__)


def content(token: Any) -> str | None:
    """Return a token's text from either form that a configuration can have."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def roles(vocabulary: dict[str, int], config: dict[str, Any]) -> dict[str, int]:
    """Return the id of each role's token.

    The configuration takes precedence. A role that it does not name has the token of the family to which the vocabulary's special
    tokens belong.
    """
    usual = TOKENIZER_FAMILIES[tokenizer_family_of(_by_id(vocabulary))].roles
    ids: dict[str, int] = {}
    for role in ROLES:
        key = f"{role}_token"
        token = content(config[key]) if key in config else usual.get(role)
        if token is not None and token in vocabulary:
            ids[role] = vocabulary[token]
    return ids
