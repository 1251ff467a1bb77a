"""Training tokenizers: WordPiece, BPE, byte-level BPE and Unigram, byte for byte the same each time.

WordPiece as Hugging Face's library trains it (byte-pair merges over characters of which all but a word's first are marked with
``##``), BPE with marked word ends as Sennrich et al. 2016, section 3.2 (GPT-1), byte-level BPE as Radford et al. 2019, section
2.2, Unigram as SentencePiece trains it (Kudo 2018, "Subword regularization", section 3.2). The text's order, the number of
threads and the libraries' hash tables have no say in the result: words are counted first and handed over in sorted order, and
what the tokenizers library leaves to chance is fixed below.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from plmtrain.errors import DataError, SettingsError
from plmtrain.families import WORD_END, TokenizerFamily
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text import pipelines
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.unigram import pieces_of, train_unigram
from plmtrain.text.word_counts import LONGEST_WORD, as_texts, count_words

_LEAST_COUNT = 2  # a pair of pieces seen once is no regularity
_LONGEST_WORDPIECE_WORD = 100  # characters: WordPiece maps longer words to the unknown token
_RAREST_CHARACTER = 1e-7  # of all characters; rarer ones are not in the alphabet


def train(texts: Iterable[str], settings: TokenizerSettings, on_left_out: Callable[[str], None] = lambda line: None) -> Tokenizer:
    """Train a tokenizer.

    Args:
        texts: the documents, in any order.
        settings: its type, the family of its special tokens, and its largest number of tokens.
        on_left_out: called with a line about words that are too long to train on, if there are any.

    Raises:
        DataError: if there is no text.
        SettingsError: if ``vocab_size`` leaves no room for the special tokens and the smallest pieces.
    """
    family = settings.tokens
    room = settings.vocab_size - len(family.specials)
    least = 256 if settings.type == "byte_bpe" else 1
    if room < least:
        raise _too_small(settings, least)
    if settings.type != "byte_bpe" and "unk" not in family.roles:
        what = f"{settings.type} needs a token for what is unknown, and family {settings.family} has none"
        raise SettingsError(what, "tokenizer.type", "use tokenizer.type=byte_bpe, which knows every byte")
    counts = count_words(
        texts,
        pipelines.normalizer(settings),
        pipelines.pre_tokenizer(settings),
        keeps_space=settings.type == "byte_bpe",
    )
    longest = _LONGEST_WORDPIECE_WORD if settings.type == "wordpiece" else LONGEST_WORD
    words = Counter({word: count for word, count in counts.words.items() if len(word) <= longest})
    used = sum(len(word) * count for word, count in words.items())
    if not words:
        long = f"all words have more than {longest} characters" if counts.characters else ""
        raise DataError("there is no text to train a tokenizer on", long, "give files with text in them (data.files=)")
    if used < counts.characters:
        share = 1 - used / counts.characters
        on_left_out(
            f"{share:.2%} of the text is in words of more than {longest} characters, which the tokenizer is not trained on"
        )
    sentencepiece: bytes | None = None
    match settings.type:
        case "wordpiece":
            model = _wordpiece(words, settings, family, room)
        case "bpe":
            model = _bpe(words, family, room)
        case "byte_bpe":
            model = _byte_bpe(words, family, room)
        case "unigram":
            model, sentencepiece = _unigram(words, settings, family, room)
    return _assemble(model, settings, sentencepiece)


def _too_small(settings: TokenizerSettings, least: int) -> SettingsError:
    specials = len(settings.tokens.specials)
    return SettingsError(
        f"a vocabulary of {settings.vocab_size} tokens is too small",
        f"tokenizer.vocab_size: {settings.type} for {settings.family} has {specials} special tokens and needs {least} more",
        f"use tokenizer.vocab_size={specials + max(least, 1000)} or more",
    )


def _library_training(words: Mapping[str, int], model: Any, trainer: Any) -> dict[str, Any]:
    """Train a model with the library, and return it in the form of the library's JSON."""
    from tokenizers import Tokenizer as Engine
    from tokenizers import pre_tokenizers

    engine = Engine(model)
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    engine.train_from_iterator(as_texts(words), trainer)
    trained: dict[str, Any] = json.loads(engine.to_str())["model"]
    return trained


def _within_alphabet(words: Counter[str], room: int, pieces: Callable[[str], int]) -> tuple[Counter[str], list[str]]:
    """Omit the words with characters that are too rare to have their own piece.

    Args:
        words: the number of occurrences of each word.
        room: the largest number of pieces.
        pieces: the number of pieces that a character needs.

    Returns:
        The remaining words, and the alphabet, sorted.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    rarest = counts.total() * _RAREST_CHARACTER
    alphabet: set[str] = set()
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        room -= pieces(character)
        if room < 0 or count < rarest:
            break
        alphabet.add(character)
    return Counter({word: count for word, count in words.items() if alphabet.issuperset(word)}), sorted(alphabet)


def _wordpiece(words: Counter[str], settings: TokenizerSettings, family: TokenizerFamily, room: int) -> dict[str, Any]:
    from tokenizers import models, trainers

    normalizer, pre_tokenizer = pipelines.normalizer(settings), pipelines.pre_tokenizer(settings)

    @cache
    def continues(character: str) -> bool:
        # Punctuation and ideographs are words of their own, and need no piece for the inside of words.
        return len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{character}a"))) == 1

    words, alphabet = _within_alphabet(words, room, lambda character: 1 + continues(character))
    # The library numbers the pieces inside words in the order of a hash table, and ties between merges are broken by these
    # numbers: if all are named beforehand, as if they were special tokens, nothing depends on that order.
    inside = [pipelines.CONTINUATION + character for character in alphabet if continues(character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=room + len(family.first),
        min_frequency=_LEAST_COUNT,
        show_progress=False,
        special_tokens=[*family.first, *inside],
        continuing_subword_prefix=pipelines.CONTINUATION,
    )
    return _library_training(words, models.WordPiece(unk_token=family.roles["unk"]), trainer) | {
        "unk_token": family.roles["unk"],
        "max_input_chars_per_word": _LONGEST_WORDPIECE_WORD,
    }


def _bpe(words: Counter[str], family: TokenizerFamily, room: int) -> dict[str, Any]:
    from tokenizers import models, trainers

    words, alphabet = _within_alphabet(words, room, lambda character: 2)
    # As for WordPiece: pieces that end a word would be numbered in the order of a hash table.
    ending = [character + WORD_END for character in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=room + len(family.first),
        min_frequency=_LEAST_COUNT,
        show_progress=False,
        special_tokens=[*family.first, *ending],
        end_of_word_suffix=WORD_END,
    )
    unknown = family.roles["unk"]
    trained = _library_training(words, models.BPE(unk_token=unknown, end_of_word_suffix=WORD_END), trainer)
    return trained | {"unk_token": unknown, "end_of_word_suffix": WORD_END, "fuse_unk": False}


def _byte_bpe(words: Counter[str], family: TokenizerFamily, room: int) -> dict[str, Any]:
    from tokenizers import models, pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=room + len(family.first),
        min_frequency=_LEAST_COUNT,
        show_progress=False,
        special_tokens=list(family.first),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    # Written as transformers writes it, so that its copies of the tokenizer have the same digest.
    return _library_training(words, models.BPE(), trainer) | {"continuing_subword_prefix": "", "end_of_word_suffix": ""}


def _unigram(
    words: Counter[str], settings: TokenizerSettings, family: TokenizerFamily, room: int
) -> tuple[dict[str, Any], bytes | None]:
    """Train the model, and keep it as SentencePiece's file holds it where the ids in there are the tokenizer's."""
    words, _ = _within_alphabet(words, room, lambda character: 1)
    if not words:
        raise _too_small(settings, room + 1)
    unknown = family.roles["unk"]
    # SentencePiece's own unknown token cannot come last, as GPT-2's token does, which is added with the family's last ones.
    displaced = [] if unknown in family.first else [unknown]
    specials = [*displaced, *family.first]
    sentencepiece = train_unigram(words, room + len(specials), specials, unknown)
    vocabulary = [[piece, score] for piece, score in pieces_of(sentencepiece)[len(displaced) :]]
    unknown_id = len(vocabulary) if displaced else family.first.index(unknown)
    model = {"type": "Unigram", "unk_id": unknown_id, "vocab": vocabulary, "byte_fallback": False}
    return model, None if displaced else sentencepiece


def _assemble(model: dict[str, Any], settings: TokenizerSettings, sentencepiece: bytes | None) -> Tokenizer:
    """Make the tokenizer of a trained model: with the family's last tokens, all stages, and what transformers wants to know."""
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Engine

    family = settings.tokens
    vocabulary = model["vocab"]
    for token in family.last:
        if isinstance(vocabulary, list):
            vocabulary.append([token, 0.0])
        else:
            vocabulary[token] = len(vocabulary)
    engine = Engine.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    engine.normalizer = pipelines.normalizer(settings)
    engine.pre_tokenizer = pipelines.pre_tokenizer(settings)
    engine.decoder = pipelines.decoder(settings)
    mask = family.roles.get("mask")
    engine.add_special_tokens(
        [AddedToken(token, lstrip=family.mask_takes_space and token == mask, normalized=False) for token in family.specials]
    )
    engine.post_processor = pipelines.post_processor(settings, {token: engine.get_vocab()[token] for token in family.specials})
    config = pipelines.transformers_config(settings) | {
        "model_max_length": family.max_length,
        "padding_side": family.padding_side,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", *(["token_type_ids"] if family.segments else []), "attention_mask"],
        **{f"{role}_token": token for role, token in family.named_roles.items()},
    }
    if extra := [token for token in family.specials if token not in family.named_roles.values()]:
        config["additional_special_tokens"] = extra
    return Tokenizer(json.loads(engine.to_str()), config, sentencepiece)
