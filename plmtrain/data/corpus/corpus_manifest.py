"""The manifest of a prepared data folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from plmtrain.data.splits import Split
from plmtrain.errors import DataError
from plmtrain.files import write_json_atomically
from plmtrain.json_files import read_object

VERSION = 1
"""Of the format; data of another version are prepared again."""

_AGAIN = "delete the folder: it is prepared again"


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that text came from.

    Args:
        path: its path.
        split: the split of its text; ``train`` also where a part of it is held out.
        bytes: its size.
        sha256: of its content.
    """

    path: str
    split: Split
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """The contents of one split.

    Args:
        tokens: document-end marks included.
        documents: a document that was cut in two, for lack of others, counts on both sides.
        sentences: with at least one token.
        duplicates: documents whose text occurred before in the same split.
        bytes, sha256: of each array file, by its name.
    """

    tokens: int
    documents: int
    sentences: int
    duplicates: int
    bytes: Mapping[str, int]
    sha256: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class CorpusManifest:
    """The origin and the contents of a prepared data folder.

    Args:
        name: of the data settings.
        digest: of everything that determines the arrays.
        tokenizer: digest of the tokenizer.
        vocabulary_size: of the tokenizer.
        document_end: the token after every document.
        sources: the files, in the order in which they were read.
        splits: ``train`` and ``validation``.
        overlap: validation documents whose text is in the training text too, of several texts in that of any.
        dropped: training documents that were left out, since the same text is in another one (``data.deduplicate``).
        skipped: lines that could not be read (``data.on_bad=skip``).
        first_skipped: the first few of them, each with its place and its error.
        unigram_entropy: of the training tokens without document-end marks, in nats a token: the loss of a model that only
            knows token frequencies.
    """

    version: int = VERSION
    name: str
    digest: str
    tokenizer: str
    vocabulary_size: int
    document_end: int
    sources: Sequence[SourceFile] = field(default_factory=tuple)
    splits: Mapping[str, SplitCounts]
    overlap: int
    dropped: int = 0
    skipped: int
    first_skipped: Sequence[str] = ()
    unigram_entropy: float

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into a folder."""
        write_json_atomically(folder / "manifest.json", asdict(self))


def read(folder: Path) -> CorpusManifest:
    """Read the manifest of a prepared data folder, whatever tokenizer it was made with.

    Raises:
        DataError: if there is none, or it cannot be parsed, or an array file is missing or of another size.
    """
    manifest = read_alone(folder)
    for name, counts in manifest.splits.items():
        for file, size in counts.bytes.items():
            path = folder / name / file
            if not path.is_file() or path.stat().st_size != size:
                raise DataError("a file of the prepared data is missing or truncated", str(path), _AGAIN)
    return manifest


def read_alone(folder: Path) -> CorpusManifest:
    """Read a manifest without checking its array files: a run keeps a copy of its data's manifest, without the arrays.

    Raises:
        DataError: if there is none, or it cannot be parsed.
    """
    path = folder / "manifest.json"
    try:
        values: dict[str, Any] = read_object(path)
        if values["version"] != VERSION:
            raise DataError(f"prepared data of format {values['version']}, not {VERSION}", str(path), _AGAIN)
        values["sources"] = tuple(SourceFile(**source) for source in values["sources"])
        values["splits"] = {name: SplitCounts(**counts) for name, counts in values["splits"].items()}
        for counts in values["splits"].values():
            dict(counts.bytes)
        return CorpusManifest(**values)
    except FileNotFoundError:
        raise DataError("there are no prepared data here", str(folder), "prepare them first: plmtrain prepare") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the manifest of the prepared data is damaged: {error}", str(path), _AGAIN) from None


def load(folder: Path | str, tokenizer_digest: str) -> CorpusManifest:
    """Read the manifest of a prepared data folder for use with a tokenizer.

    Raises:
        DataError: if the folder is unusable, or was prepared with another tokenizer.
    """
    manifest = read(Path(folder))
    if manifest.tokenizer != tokenizer_digest:
        raise DataError(
            "the text was prepared with another tokenizer",
            f"{folder}: {manifest.tokenizer[:16]}, and this run's is {tokenizer_digest[:16]}",
            "prepare the text with this run's tokenizer, or give the run the tokenizer of the data (tokenizer.path=)",
        )
    return manifest


def joined(
    name: str, manifests: Mapping[str, CorpusManifest], overlaps: Mapping[str, int], unigram_entropy: float
) -> CorpusManifest:
    """Return the description of several prepared texts as one corpus; the array files are those of each.

    Args:
        name: of the data settings.
        manifests: of each text, by its name.
        overlaps: held-out documents of each text that are in the training text of one of all, as far as it is known.
        unigram_entropy: of the tokens of all, each text with its share.
    """
    each = list(manifests.values())
    digests = sorted((source, manifest.digest) for source, manifest in manifests.items())
    return replace(
        each[0],
        name=name,
        digest=hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
        sources=tuple(source for manifest in each for source in manifest.sources),
        splits={split: _sum([manifest.splits[split] for manifest in each]) for split in each[0].splits},
        overlap=sum(max(manifest.overlap, overlaps[source]) for source, manifest in manifests.items()),
        dropped=sum(manifest.dropped for manifest in each),
        skipped=sum(manifest.skipped for manifest in each),
        first_skipped=tuple(line for manifest in each for line in manifest.first_skipped),
        unigram_entropy=unigram_entropy,
    )


def _sum(counts: Sequence[SplitCounts]) -> SplitCounts:
    """Add up the contents of a split."""
    names = ("tokens", "documents", "sentences", "duplicates")
    return SplitCounts(**{name: sum(getattr(each, name) for each in counts) for name in names}, bytes={}, sha256={})


def changed_sources(before: CorpusManifest, after: CorpusManifest) -> list[str]:
    """Return the paths whose content or split differs between two manifests."""
    old = {(source.path, source.split): source.sha256 for source in before.sources}
    new = {(source.path, source.split): source.sha256 for source in after.sources}
    return sorted({path for path, split in old.keys() | new.keys() if old.get((path, split)) != new.get((path, split))})
