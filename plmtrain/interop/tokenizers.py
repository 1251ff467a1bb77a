"""Reading the tokenizer of an untrusted folder."""

from __future__ import annotations

from pathlib import Path

from plmtrain.interop.folder import own_file, read_json, refuse_code
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_files import CONFIG_FILE, SENTENCEPIECE_FILES, SPECIALS_FILE, TOKENIZER_FILE

_DEFINITIONS = (TOKENIZER_FILE, "vocab.txt", "vocab.json")
_FILES = (*_DEFINITIONS, CONFIG_FILE, SPECIALS_FILE, "merges.txt", *SENTENCEPIECE_FILES)


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder has a tokenizer of a supported kind."""
    return any((folder / name).is_file() for name in _DEFINITIONS)


def tokenizer_in(folder: Path) -> Tokenizer:
    """Return the tokenizer in a Hugging Face folder, without executing code from the folder.

    Raises:
        SettingsError: if it needs custom code, or one of its files is a link that leads out of the folder.
        DataError: if there is no readable tokenizer.
    """
    for name in _FILES:
        own_file(folder, name)
    if (folder / CONFIG_FILE).is_file():
        refuse_code(read_json(folder / CONFIG_FILE), folder / CONFIG_FILE)
    return Tokenizer.load(folder)
