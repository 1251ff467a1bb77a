"""Tokenizers: text to token ids and word starts, and back.

A thin wrapper of the tokenizers library. It adds what pretraining needs (which tokens begin words, which id has which role),
never recognises a special token in text unless asked to, and writes folders that transformers' AutoTokenizer loads with the same
ids.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import count, pairwise, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.errors import DataError, is_panic
from plmtrain.families import ROLES, SENTINEL, TOKENIZER_FAMILIES, Piece, tokenizer_family_of
from plmtrain.text.joined_encoding import JoinedEncoder
from plmtrain.text.tokenizer_files import (
    CONFIG_FILE,
    GENERAL_CLASS,
    SPECIALS_FILE,
    TOKENIZER_FILE,
    read_folder,
    read_sentencepiece,
    roles,
)
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.text.word_starts import SPACE, WordStarts, as_bytes, is_byte_level, tables

Encoded = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""[tokens] ids, and whether each begins a word."""

_NOT_CARRIED = frozenset({"auto_map", "name_or_path", "tokenizer_file", "special_tokens_map_file", "vocab_file", "merges_file"})
"""Entries of other libraries' configurations that are not copied: code to run, paths of a machine."""

_HIDDEN = "\0"  # no reader accepts it, so no text contains it


class Tokenizer:
    """A tokenizer.

    Args:
        definition: the contents of ``tokenizer.json``.
        config: the contents of ``tokenizer_config.json``.
        sentencepiece: the contents of SentencePiece's file, the same vocabulary as SentencePiece reads it, if there is one.

    Raises:
        DataError: if the tokenizers library cannot build a tokenizer from the definition.
    """

    def __init__(self, definition: Mapping[str, Any], config: Mapping[str, Any], sentencepiece: bytes | None = None) -> None:
        # Padding and truncation belong to a use, not to a tokenizer: text must never be truncated silently.
        self._definition = {**definition, "truncation": None, "padding": None}
        self._config = dict(config)
        self._sentencepiece = sentencepiece
        self._engine = _engine(self._definition)
        for token in self._definition["added_tokens"]:
            # The library numbers an added token by itself where its id is taken or leaves a gap.
            if (number := self._engine.token_to_id(token["content"])) != token["id"]:
                where = f"the added token {token['content'][:40]!r} has the id {token['id']}, which would become {number}"
                raise DataError("this tokenizer cannot be used", where, "save it again, or use another tokenizer")

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Load the tokenizer in a folder, written by plmtrain or by Hugging Face's library.

        Raises:
            DataError: if there is none, or it cannot be read.
        """
        folder = Path(folder)
        try:
            return cls(*read_folder(folder), read_sentencepiece(folder))
        except DataError as error:
            raise DataError(error.what, error.where or str(folder), error.remedy) from None

    def save(self, folder: str | Path, *, model_max_length: int | None = None) -> None:
        """Write the tokenizer into a folder, which is created if necessary.

        Args:
            folder: the folder.
            model_max_length: the longest text that the model accepts, in tokens; unchanged if omitted.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in self._config.items() if key not in _NOT_CARRIED}
        config = {**kept, "added_tokens_decoder": self._added_tokens()}
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        specials = {key: config[key] for role in ROLES if (key := f"{role}_token") in config}
        if "additional_special_tokens" in config:
            specials["additional_special_tokens"] = config["additional_special_tokens"]
        for name, written in ((TOKENIZER_FILE, self._definition), (CONFIG_FILE, config), (SPECIALS_FILE, specials)):
            text = json.dumps(written, ensure_ascii=False, indent=2) + "\n"
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        if self._sentencepiece is not None:
            (folder / TOKENIZER_FAMILIES[self.family].sentencepiece_file).write_bytes(self._sentencepiece)

    @property
    def definition(self) -> Mapping[str, Any]:
        """The contents of its ``tokenizer.json``."""
        return self._definition

    @property
    def config(self) -> Mapping[str, Any]:
        """The contents of its ``tokenizer_config.json``."""
        return self._config

    @property
    def ids(self) -> dict[str, int]:
        """The id of each piece, as the model writes it."""
        ids: dict[str, int] = self._engine.get_vocab(with_added_tokens=True)
        return ids

    def normalise(self, text: str) -> str:
        """Return a text as its first stage changes it."""
        return text if self._engine.normalizer is None else str(self._engine.normalizer.normalize_str(text))

    def words(self, text: str) -> list[str]:
        """Return the words of a text as its first two stages give them to the model."""
        normal = self.normalise(text)
        if self._engine.pre_tokenizer is None:
            return [normal]
        return [word for word, _ in self._engine.pre_tokenizer.pre_tokenize_str(normal)]

    def model_pieces(self, word: str) -> list[str]:
        """Return the pieces of a word from ``words``."""
        return [token.value for token in self._engine.model.tokenize(word)]

    def _added_tokens(self) -> dict[str, dict[str, Any]]:
        return {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in self._definition["added_tokens"]}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The ids by role, and the vocabulary's size."""
        pieces = self._engine.get_vocab(with_added_tokens=True)
        by_role = roles(pieces, self._config)
        marked = {token["id"] for token in self._definition["added_tokens"] if token["special"]}
        size = max(pieces.values()) + 1
        gaps = tuple(sorted(set(range(size)) - set(pieces.values())))
        sentinels = tuple(takewhile(lambda number: number >= 0, (pieces.get(SENTINEL.format(turn), -1) for turn in count())))
        if sentinels:
            by_role = {**by_role, "sentinel": sentinels[0]}
        words = tuple(self._pieces) if self.type == "wordlevel" else ()
        special = tuple(sorted(marked | set(by_role.values())))
        return Vocabulary(size, by_role, special, gaps, sentinels=sentinels, words=words, text_of=self.decode)

    @cached_property
    def digest(self) -> str:
        """The hash of all that determines ids: the stages before the model, the model, the special tokens and their roles."""
        parts = {key: self._definition.get(key) for key in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
        canonical = json.dumps([parts, dict(self.vocabulary.roles)], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def type(self) -> str:
        """``wordpiece``, ``byte_bpe``, ``unigram``, ``bpe`` or ``wordlevel``."""
        model = self._definition["model"]
        name = model.get("type") or ("BPE" if "merges" in model else "Unigram" if "unk_id" in model else "WordPiece")
        return "byte_bpe" if name == "BPE" and is_byte_level(self._definition) else str(name).lower()

    @cached_property
    def family(self) -> str:
        """The family whose special tokens it has."""
        return tokenizer_family_of(self._pieces)

    @cached_property
    def _pieces(self) -> list[str]:
        """The piece of each id, as the model writes it; empty for ids without a piece."""
        ids = self._engine.get_vocab(with_added_tokens=True)
        pieces = [""] * (max(ids.values()) + 1)
        for piece, number in ids.items():
            pieces[number] = piece
        return pieces

    @cached_property
    def _word_starts(self) -> WordStarts:
        never_text = self.vocabulary.is_special.copy()
        if "unk" in self.vocabulary.roles:
            never_text[self.vocabulary["unk"]] = False
        return tables(self._definition, self._pieces, never_text)

    @cached_property
    def _plain(self) -> Any:
        """The library's tokenizer, changed so that it recognises no special tokens in text.

        Their names are replaced: Unigram would otherwise find them among its pieces even where the library is told to recognise
        none.
        """
        special = set(self.vocabulary.special_ids)
        unknown = self.vocabulary.roles.get("unk")
        hidden = {self._pieces[number]: _HIDDEN + self._pieces[number] for number in special - {unknown}}
        model = dict(self._definition["model"])
        if isinstance(model["vocab"], dict):
            model["vocab"] = {hidden.get(piece, piece): number for piece, number in model["vocab"].items()}
        else:
            model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
        added = [
            {**token, "content": hidden.get(token["content"], token["content"])} for token in self._definition["added_tokens"]
        ]
        engine = _engine({**self._definition, "model": model, "added_tokens": added, "post_processor": None})
        engine.encode_special_tokens = True
        return engine

    @cached_property
    def _encoder(self) -> JoinedEncoder:
        return JoinedEncoder(self._plain)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids and word starts of some texts, without special tokens around them; no text is taken for a special token.

        Args:
            texts: any number; the library encodes them in parallel on all cores.
        Returns:
            For each text its ids and whether each begins a word.  # [tokens] each
        """
        return _apart(*self.encode_joined(texts))

    def encode_joined(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Return the same as ``encode``, one text after another, without an array for each.

        Returns:
            The ids of all texts [tokens], whether each begins a word [tokens], and the end of each text in them [texts].
        """
        ids, ends = self._encoder.encode(texts)
        return ids, self._word_starts.of(ids, _begins(ends)), ends

    def places(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the characters of texts that each token of ``encode`` stands for.

        Args:
            texts: as for ``encode``.

        Returns:
            For each text the place of each token's first character, and the place after its last one.  # [tokens, 2] each
        """
        encodings = self._plain.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, np.int64).reshape(-1, 2) for encoding in encodings]

    def unknown_words(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the words of texts that a vocabulary of whole words lacks, which ``encode`` gives the unknown token.

        Args:
            texts: as for ``encode``.

        Returns:
            For each text its unknown words in order; none where tokens are not whole words.
        """
        if self.type != "wordlevel":
            return [[] for _ in texts]
        return [[word for word in self.words(text) if word not in self._known_words] for text in texts]

    @cached_property
    def _known_words(self) -> frozenset[str]:
        return frozenset(self._pieces[number] for number in self.vocabulary.ordinary_ids)

    def encode_with_specials(self, text: str) -> Encoded:
        """Return the ids and word starts of a text in which special tokens are written by name; none is added around it."""
        ids = np.array(self._engine.encode(text, add_special_tokens=False).ids, np.int64)
        return ids, self._word_starts.of(ids, _begins(np.array([len(ids)])))

    def framed(self, *texts: str) -> tuple[list[int], list[int]]:
        """Return the ids and segments of one text or two, with the special tokens that its last stage puts around them."""
        encoding = self._engine.encode(*texts)
        return list(encoding.ids), list(encoding.type_ids)

    def framing(self, single: Sequence[Piece], pair: Sequence[Piece], padding_side: str) -> Tokenizer:
        """Return the same tokenizer with other special tokens around texts.

        Args:
            single: the pieces of a row of one text.
            pair: the pieces of a row of two texts.
            padding_side: the side of shorter rows on which padding stands.
        """
        names = {role: self._pieces[number] for role, number in self.vocabulary.roles.items()}
        used = {piece for piece, _ in (*single, *pair) if isinstance(piece, str)}
        template = {
            "type": "TemplateProcessing",
            "single": [_template(piece, segment, names) for piece, segment in single],
            "pair": [_template(piece, segment, names) for piece, segment in pair],
            "special_tokens": {
                names[role]: {"id": names[role], "ids": [self.vocabulary[role]], "tokens": [names[role]]} for role in used
            },
        }
        processor: dict[str, Any] = template
        if self.type == "byte_bpe":
            trim = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
            processor = {"type": "Sequence", "processors": [trim, template]}
        inputs = ["input_ids", *(["token_type_ids"] if any(segment for _, segment in pair) else []), "attention_mask"]
        config = {"tokenizer_class": GENERAL_CLASS, "padding_side": padding_side, "model_input_names": inputs}
        definition = {**self._definition, "post_processor": processor}
        roles = {f"{role}_token": names[role] for role in ROLES if role in names}  # the general class knows none by itself
        return Tokenizer(definition, {**roles, **self._config, **config}, self._sentencepiece)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]], *, skip_special: bool = True) -> str:
        """Return the text of some tokens.

        Args:
            ids: [tokens].
            skip_special: whether special tokens are omitted.
        """
        text = str(self._engine.decode([int(number) for number in ids], skip_special_tokens=skip_special))
        # Pieces of lower-cased Hangul are single letters, which NFC joins to syllables. Bytes are returned unchanged.
        return text if self.type == "byte_bpe" else unicodedata.normalize("NFC", text)

    def pieces(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """Return each token by itself in readable form: ``##`` and ``▁`` stay, bytes become characters where they form any."""
        if self.type != "byte_bpe":
            return [unicodedata.normalize("NFC", self._pieces[int(number)]) for number in ids]
        return [self._readable(int(number)) for number in ids]

    def _readable(self, number: int) -> str:
        if self.vocabulary.is_special[number]:
            return self._pieces[number]
        text = as_bytes(self._pieces[number]).decode("utf-8", "backslashreplace")
        return text.replace(" ", SPACE).replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _begins(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first token of each text that has any."""
    sizes = np.diff(ends, prepend=0)
    return (ends - sizes)[sizes > 0]


def _apart(ids: NDArray[np.int64], starts: NDArray[np.bool_], ends: NDArray[np.int64]) -> list[Encoded]:
    """Cut the result of ``encode_joined`` into texts."""
    bounds = [0, *ends.tolist()]
    return [(ids[first:end], starts[first:end]) for first, end in pairwise(bounds)]


def _template(piece: str | int, segment: int, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a piece of a row as the library's template writes it."""
    if isinstance(piece, int):
        return {"Sequence": {"id": "AB"[piece], "type_id": segment}}
    return {"SpecialToken": {"id": names[piece], "type_id": segment}}


def _engine(definition: Mapping[str, Any]) -> Any:
    """Build the library's tokenizer of a definition."""
    from tokenizers import Tokenizer as Engine

    try:
        return Engine.from_str(json.dumps(definition, ensure_ascii=False))
    except BaseException as error:
        # The library raises bare Exception, and a panic of Rust is not even that.
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        told = f"this tokenizer cannot be used; the tokenizers library says: {error}"
        raise DataError(told, "", "save it again, or use another tokenizer") from None
