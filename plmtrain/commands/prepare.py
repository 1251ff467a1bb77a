"""``plmtrain prepare``: turn text into prepared data alone."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from plmtrain.commands.parts import Corpus, corpus_of
from plmtrain.commands.preparation import preparation_report
from plmtrain.settings.compose import compose
from plmtrain.settings.decode import pretrain_settings

HELP = """\
plmtrain prepare [OVERRIDES]    turn text into memory-mapped arrays, once; pretrain does it where it has not been done

examples
  plmtrain prepare data=jsonl data.files=[corpus/*.jsonl.gz] model=bert
"""


def run(arguments: list[str]) -> int:
    """Prepare the text and say what is in it."""
    settings = pretrain_settings(compose(arguments))
    with preparation_report() as report:
        corpus = corpus_of(settings, report)
    Console().print(corpus_table(corpus))
    return 0
