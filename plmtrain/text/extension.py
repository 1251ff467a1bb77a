"""Adding tokens to an existing tokenizer, so that words of a new domain are one token each.

A word becomes a piece of the tokenizer's own model, as if it had been trained with it. WordPiece and Unigram also use it within
longer words. BPE takes it for the whole word only, before merges are looked at: merges that build it would change other words.
Text without the word is encoded as before. Anything that the tokenizer cuts into several words, such as ``<doc>``, becomes an
added token of the tokenizers library, which is recognised in raw text.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plmtrain.errors import SettingsError
from plmtrain.families import TokenizerFamily
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_files import GENERAL_CLASS

_PREFERRED = 0.01
"""Nats by which a new Unigram piece is more likely than its old pieces together, so that it is always chosen over them."""

_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
"""Of added tokens: they are recognised as they are, also within words."""

_UNKNOWN = 10.0
"""Nats by which Unigram's unknown character is less likely than its rarest piece, as in SentencePiece."""


@dataclass(frozen=True)
class Extension:
    """A tokenizer with added tokens.

    Args:
        tokenizer: the new tokenizer; every old token keeps its id.
        added: the texts that are one token now.
        known: the texts that were one token before.
    """

    tokenizer: Tokenizer
    added: Sequence[str]
    known: Sequence[str]


def extend(tokenizer: Tokenizer, texts: Sequence[str]) -> Extension:
    """Add a token for each text that is not one yet.

    Args:
        tokenizer: the old tokenizer, which is not changed.
        texts: words, or other text that shall be one token.

    Raises:
        SettingsError: if a text is empty or has a line end.
    """
    definition = copy.deepcopy(dict(tokenizer.definition))
    added, known, markers = [], [], []
    for text in dict.fromkeys(text.strip() for text in texts):
        if not text or len(text.splitlines()) > 1:
            raise SettingsError("a token needs a text without line ends", f"token: {text!r:.60}", "give words, one each")
        words = tokenizer.words(_in_text(tokenizer, text))
        if not _is_divided(tokenizer, text):
            known.append(text)
        elif len(words) == 1 and _has_room(definition, tokenizer):
            _ADD[definition["model"].get("type") or "BPE"](definition["model"], words[0], tokenizer)
            added.append(text)
        else:
            markers.append(text)
    size = max(_largest(definition), tokenizer.vocabulary.size - 1) + 1
    for number, text in enumerate(markers):
        definition["added_tokens"].append({"id": size + number, "content": text, **_FLAGS, "special": False})
    # SentencePiece's file would lack the new pieces.
    config = dict(tokenizer.config)
    if definition["model"].get("ignore_merges"):
        config["tokenizer_class"] = GENERAL_CLASS  # the families' own classes make a model that looks at merges
    return Extension(Tokenizer(definition, config), (*added, *markers), known)


def with_added_tokens(tokenizer: Tokenizer, family: TokenizerFamily, texts: Sequence[str] = ()) -> Tokenizer:
    """Return a tokenizer with the tokens that fine-tuning adds; if it has them, the same tokenizer.

    Args:
        tokenizer: the old tokenizer, which is not changed.
        family: has the special tokens that are added to its published vocabularies.
        texts: those that shall be one token in addition.
    """
    special = [token for token in family.added if token not in tokenizer.ids]
    plain = [text for text in texts if text not in tokenizer.ids and _is_divided(tokenizer, text)]
    if not special and not plain:
        return tokenizer
    definition = copy.deepcopy(dict(tokenizer.definition))
    for number, token in enumerate((*special, *plain), start=tokenizer.vocabulary.size):
        definition["added_tokens"].append({"id": number, "content": token, **_FLAGS, "special": token in special})
    named = {f"{role}_token": token for role, token in family.named_roles.items() if token in special}
    return Tokenizer(definition, {**tokenizer.config, **named})


def _is_divided(tokenizer: Tokenizer, text: str) -> bool:
    return len(tokenizer.encode([_in_text(tokenizer, text)])[0][0]) != 1 or _unknown(tokenizer, text)


def new_tokens(before: Tokenizer, now: Tokenizer) -> dict[int, list[int]]:
    """Return the tokens that another tokenizer does not have, each with the tokens that it writes them with; none for special
    tokens, which stand for no text.

    Args:
        before: the tokenizer that weights were trained with.
        now: the tokenizer that is used from now on.

    Raises:
        SettingsError: if a token that both have has another id: ``now`` is no extension of ``before``.
    """
    old, new = before.ids, now.ids
    if moved := sorted(piece for piece in old.keys() & new.keys() if old[piece] != new[piece]):
        raise SettingsError(
            "the tokenizer numbers tokens otherwise than the one of the weights to start from",
            f"tokenizer.path: {moved[0]!r} is {new[moved[0]]} there, and {old[moved[0]]} in init=; {len(moved):,} tokens differ",
            "omit tokenizer.path=, or extend the weights' own tokenizer: plmtrain tokenizer extend",
        )
    fresh = sorted(new[piece] for piece in new.keys() - old.keys())
    unknown = before.vocabulary.roles.get("unk")
    texts = [_in_text(before, now.decode([number], skip_special=False).strip()) for number in fresh]
    return {
        number: [piece for piece in ids.tolist() if piece != unknown and not now.vocabulary.is_special[number]]
        for number, (ids, _) in zip(fresh, before.encode(texts), strict=True)
    }


def _in_text(tokenizer: Tokenizer, text: str) -> str:
    """Return a text as it stands within a sentence: byte-level pieces of a word begin with its space."""
    return f" {text}" if tokenizer.type == "byte_bpe" else text


def _unknown(tokenizer: Tokenizer, text: str) -> bool:
    return tokenizer.vocabulary.roles.get("unk") in tokenizer.encode([_in_text(tokenizer, text)])[0][0]


def _largest(definition: Mapping[str, Any]) -> int:
    vocabulary = definition["model"]["vocab"]
    return len(vocabulary) - 1 if isinstance(vocabulary, list) else max(vocabulary.values())


def _has_room(definition: Mapping[str, Any], tokenizer: Tokenizer) -> bool:
    """Return whether the model can have another piece. In a list the ids have no gaps, and added tokens may come after it; marks
    at the end of words are not part of what BPE looks up."""
    if definition["model"].get("end_of_word_suffix"):
        return False
    return isinstance(definition["model"]["vocab"], dict) or _largest(definition) >= tokenizer.vocabulary.size - 1


def _add_piece(model: dict[str, Any], word: str, tokenizer: Tokenizer) -> None:
    vocabulary = model["vocab"]
    vocabulary.setdefault(word, max(*vocabulary.values(), tokenizer.vocabulary.size - 1) + 1)


def _add_likely_piece(model: dict[str, Any], word: str, tokenizer: Tokenizer) -> None:
    scores = dict(model["vocab"])
    rarest = min(scores.values()) - _UNKNOWN
    likelihood = sum(scores.get(piece, rarest) for piece in tokenizer.model_pieces(word))
    if word not in scores:
        model["vocab"].append([word, round(likelihood + _PREFERRED, 9)])


def _add_word(model: dict[str, Any], word: str, tokenizer: Tokenizer) -> None:
    model["ignore_merges"] = True
    _add_piece(model, word, tokenizer)


_ADD = {"WordPiece": _add_piece, "Unigram": _add_likely_piece, "BPE": _add_word, "WordLevel": _add_piece}
