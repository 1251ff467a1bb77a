"""``plmtrain tokenizer``: train a tokenizer alone."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from plmtrain.commands.parts import tokenizer_of
from plmtrain.commands.preparation import output_folder, preparation_report
from plmtrain.settings.compose import compose
from plmtrain.settings.decode import pretrain_settings

HELP = """\
plmtrain tokenizer [FOLDER] [OVERRIDES]    train a tokenizer alone, and save it to FOLDER in the Hugging Face layout

examples
  plmtrain tokenizer mytokenizer data=text data.files=[mybook.txt] tokenizer=wordpiece tokenizer.vocab_size=8000
  plmtrain pretrain tokenizer.path=mytokenizer data=text data.files=[mybook.txt]
"""


def run(arguments: list[str]) -> int:
    """Train a tokenizer on the training text, or find the one that was trained on it before."""
    folder, overrides = output_folder(arguments)
    settings = pretrain_settings(compose(overrides))
    with preparation_report() as report:
        tokenizer = tokenizer_of(settings, report)
    place = folder or Path(settings.data.prepared_dir) / "tokenizers"
    if folder is not None:
        tokenizer.save(folder)
    console = Console()
    console.print(f"{tokenizer.type} tokenizer of {tokenizer.vocabulary.size:,} tokens in {place}")
    sample = "The quick brown fox jumps over the lazy dog."
    ((ids, _),) = tokenizer.encode([sample])
    console.print(f"{sample}  →  {' '.join(tokenizer.pieces(ids.tolist()))}", highlight=False, markup=False)
    return 0
