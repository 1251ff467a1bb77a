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
    stream = ["of the first file; the others are prepared while training reads them"] if settings.data.type == "stream" else []
    tell(*map(str, corpus.folders.values()), corpus_table(corpus), *stream, *remarks(corpus))
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
    tokens = {name: len(store) for name, store in corpus.stores("train").items()}
    lines = [
        f"{name}: {share:.2%} of the rows of training, {tokens[name]:,} training tokens"
        for name, share in corpus.shares.items()
        if name is not None
    ]
    overlap, skipped = counted(manifest.overlap, "held-out document"), counted(manifest.skipped, "line")
    if manifest.dropped:
        lines.append(f"{counted(manifest.dropped, 'document')} left out, since their text stands elsewhere")
    return [
        *lines,
        f"{overlap} also in the training text, {skipped} skipped",
        f"unigram entropy {manifest.unigram_entropy:.3f} nats a token",
    ]
