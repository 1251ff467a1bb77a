"""``plmtrain tokenizer``: train a tokenizer alone."""

from __future__ import annotations

from pathlib import Path

from plmtrain.console import tell
from plmtrain.runs.corpus import first_words, tokenizer_of
from plmtrain.runs.preparation import preparation_report
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.settings_file import separated
from plmtrain.settings.decode import pretrain_settings


def run(arguments: list[str]) -> int:
    """Train a tokenizer on the training text, or load the one that was trained on it before."""
    file, rest = separated(arguments)
    folder = Path(rest.pop(0)) if rest and "=" not in rest[0] and not rest[0].startswith("-") else None
    settings = pretrain_settings(compose([*rest, *([file] if file is not None else [])]))
    with preparation_report() as on_update:
        tokenizer = tokenizer_of(settings, on_update)
    place = folder or Path(settings.data.prepared_dir) / "tokenizers"
    if folder is not None:
        tokenizer.save(folder)
    sample = first_words(settings, lambda update: None)
    ((ids, _),) = tokenizer.encode([sample])
    tell(
        f"{tokenizer.type} tokenizer of {tokenizer.vocabulary.size:,} tokens in {place}",
        f"{sample}  →  {' '.join(tokenizer.pieces(ids.tolist()))}",
    )
    return 0
