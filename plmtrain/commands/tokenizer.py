"""``plmtrain tokenizer``: train a tokenizer alone."""

from __future__ import annotations

from pathlib import Path

from plmtrain.console import tell
from plmtrain.runs.corpus import tokenizer_of
from plmtrain.runs.preparation import preparation_report
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings


def run(arguments: list[str]) -> int:
    """Train a tokenizer on the training text, or load the one that was trained on it before."""
    folder = Path(arguments.pop(0)) if arguments and "=" not in arguments[0] and not arguments[0].startswith("-") else None
    settings = pretrain_settings(compose(arguments))
    with preparation_report() as on_update:
        tokenizer = tokenizer_of(settings, on_update)
    place = folder or Path(settings.data.prepared_dir) / "tokenizers"
    if folder is not None:
        tokenizer.save(folder)
    tell(f"{tokenizer.type} tokenizer of {tokenizer.vocabulary.size:,} tokens in {place}")
    sample = "The quick brown fox jumps over the lazy dog."
    ((ids, _),) = tokenizer.encode([sample])
    tell(f"{sample}  →  {' '.join(tokenizer.pieces(ids.tolist()))}")
    return 0
