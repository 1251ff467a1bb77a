"""``plmtrain prepare``: turn text into prepared data alone."""

from __future__ import annotations

from rich.table import Table

from plmtrain.console import counted, tell
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.corpus import Corpus, corpus_of, derive
from plmtrain.runs.preparation import preparation_report
from plmtrain.settings.run import PretrainSettings


def run(arguments: list[str]) -> int:
    """Prepare the text and print its counts."""
    settings = settings_for("prepare", arguments)
    assert isinstance(settings, PretrainSettings)
    with preparation_report() as on_update:
        corpus = corpus_of(settings, on_update)
        derive(corpus, settings, on_update)
    tell(str(corpus.folder), corpus_table(corpus), *remarks(corpus))
    return 0


def corpus_table(corpus: Corpus) -> Table:
    """Return the counts of prepared text as a table."""
    manifest = corpus.manifest
    table = Table()
    for heading in ("", *manifest.splits):
        table.add_column(heading, justify="right" if heading else "left")
    for name in ("documents", "sentences", "tokens", "duplicates"):
        table.add_row(name, *(f"{getattr(counts, name):,}" for counts in manifest.splits.values()))
    return table


def remarks(corpus: Corpus) -> list[str]:
    """Return what else is known of prepared text, a line each."""
    manifest = corpus.manifest
    overlap, skipped = counted(manifest.overlap, "held-out document"), counted(manifest.skipped, "line")
    return [
        f"{overlap} also in the training text, {skipped} skipped",
        f"unigram entropy {manifest.unigram_entropy:.3f} nats a token",
    ]
