"""The data to train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from plmtrain.settings.base import Name, Settings, Texts, keys_of_members


class TableSettings(Settings):
    """Labelled examples in files: a header and rows, or one JSON object a line."""

    files: Texts = ()
    """Files, folders or globs; what gzip or zstd compressed is decompressed."""
    validation_files: Texts = ()
    """Held-out examples; without them a part of ``files`` is held out."""
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    """The share of ``files`` that is held out where there are no ``validation_files``: by a hash of the texts, the same share of
    each label."""
    format: Literal["auto", "tsv", "csv", "jsonl", "parquet", "conll", "conllu", "squad"] = "auto"
    """auto: by the file's ending. TSV has no quotes; CSV has quoted cells, which may contain commas and line ends; jsonl is one
    JSON object a line, or one array of objects; conll has a word a line and blank lines between sentences; squad is one JSON
    object with articles, paragraphs and questions."""
    columns: Texts = ()
    """The names of the columns of files without a header."""
    separator: str | None = Field(None, min_length=1, max_length=1)
    """The character between cells; a tab in tsv, a comma in csv, any white space in conll if omitted."""
    on_bad: Literal["stop", "skip"] = "stop"
    """Whether a row that cannot be read stops the run or is skipped and counted."""
    prepared_dir: str = "prepared"
    """The folder of trained tokenizers, each named by the digest of what it was made from."""

    @model_validator(mode="after")
    def _held_out_of_something(self) -> TableSettings:
        if self.validation_files and not self.files:
            raise ValueError("files is missing: name the examples to train on, data.files=[train.tsv]")
        return self

    @model_validator(mode="after")
    def _columns(self) -> TableSettings:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns names one column twice")
        if self.format in ("jsonl", "parquet", "conllu", "squad"):
            for name in ("columns", "separator"):
                if getattr(self, name):
                    raise ValueError(f"{name} has no meaning for format={self.format}: omit it")
        return self


class TextSettings(Settings):
    """Texts in files or on the hub: how they are read, and which are held out."""

    place: ClassVar[str] = "data"
    """The group of the settings, for messages."""

    type: str
    """The format of the text."""
    files: Texts = ()
    """Files, folders or globs; what gzip or zstd compressed is decompressed."""
    validation_files: Texts = ()
    """Held-out text; without it, a part of ``files`` is held out."""
    text_column: str = "text"
    """The key of the text in a JSON line, or the column of the text in a table."""
    columns: Texts = ()
    """The names of the columns of CSV files without a header."""
    separator: str | None = Field(None, min_length=1, max_length=1)
    """The character between the cells of CSV files; a comma if omitted, or a tab if a file's name ends with ``.tsv``."""
    document_per: Literal["file", "blank_line", "line"] = "file"
    """The unit of a document in ``text`` files: the whole file, the lines between blank lines, or a line."""
    on_bad: Literal["stop", "skip"] = "stop"
    """Whether a line that cannot be read stops the run or is skipped and counted."""
    deduplicate: bool = False
    """Whether only the first of several documents with the same text is trained on, and none that ``validation_files`` has."""

    hub: str | None = None
    """The dataset: its name on the hub, or the folder of a copy of it."""
    subset: str | None = None
    """The subset of the dataset, if it has several."""
    revision: str | None = None
    """The commit, the branch or the tag of the dataset on the hub; its newest state if omitted."""
    split: str = "train"
    """The split of the dataset to train on."""
    validation_split: str | None = None
    """The held-out split of the dataset; without it, a part of ``split`` is held out."""

    @model_validator(mode="after")
    def _hub(self) -> Self:
        if self.type == "hub":
            if self.hub is None:
                raise ValueError(
                    f"hub is missing: name the dataset, {self.place}.hub=wikimedia/wikipedia, or the folder of a copy"
                )
            if self.files or self.validation_files:
                splits = f"{self.place}.split= and {self.place}.validation_split="
                raise ValueError(f"files are not for data=hub: name the dataset and its splits, {splits}")
            return self
        for name in ("hub", "subset", "revision", "validation_split"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for data=hub: omit it")
        return self

    @model_validator(mode="after")
    def _files(self) -> Self:
        if self.type not in ("sample", "hub", "mix") and not self.files:
            raise ValueError(f"files is missing: name the text to train on, {self.place}.files=[mytext.txt]")
        return self

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns names one column twice")
        for name in ("columns", "separator"):
            if getattr(self, name) and self.type != "csv":
                raise ValueError(f"{name} is for data=csv: omit it")
        return self


class SourceSettings(TextSettings):
    """One of the texts of a mix."""

    place: ClassVar[str] = "data.sources.NAME"

    type: Literal["sample", "text", "jsonl", "csv", "parquet", "hub"]
    """The format of the text, as that of other data."""
    weight: float | None = Field(None, gt=0)
    """Its share of the rows, relative to the sum of all weights."""


SourceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]


def _by_name(values: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
    """Sort by name, so that the order in which they were written changes neither the run nor its folder."""
    return dict(sorted(values.items()))


class DataSettings(TextSettings):
    """A corpus: files, how they are read, and what is held out; or several of them, mixed."""

    name: Name
    """The name that users know it by: that of its YAML."""
    type: Literal["sample", "text", "jsonl", "csv", "parquet", "hub", "parallel", "mix", "stream"]
    """``sample`` is the documentation inside the Python installation; ``text`` files contain paragraphs, with blank lines between
    documents if ``document_per`` says so; ``jsonl`` files contain one document a line, ``csv`` (or TSV) and ``parquet`` files one
    a row; ``hub`` is a dataset of Hugging Face's hub, with files of one of these kinds; ``parallel`` files contain sentences and
    their translations; a ``mix`` has several sources of the other kinds; a ``stream`` has files that are prepared one after
    another while they are read."""
    validation_fraction: float = Field(0.01, gt=0, lt=1)
    """The share of documents held out where there are no ``validation_files``; at least one block."""
    isolate_documents: bool = False
    """Whether documents in the same row cannot see each other (in RoBERTa's full sentences they can: section 4.2)."""
    prepared_dir: str = "prepared"
    """The folder of prepared data and trained tokenizers, each named by the digest of what it was made from."""
    processes: int | None = Field(None, gt=0, le=256)
    """Processes that prepare the text; all cores if omitted."""
    languages: tuple[Name, ...] = Field((), max_length=255)
    """The languages of parallel text, in the order of their numbers: the columns of its tables, the endings of its files, and
    the ``Language`` of its catalogues."""
    source_language: Name = "en"
    """The language of a catalogue's msgids."""
    monolingual: dict[str, Texts] = Field(default_factory=dict)
    """By language, files of text without translations: JSON lines if their names say so, otherwise plain text. A language without
    such files is read from the sentences that have translations."""
    vocabulary_exponent: float = Field(0.5, ge=0, le=1)
    """The share of each language in training the tokenizer: its size to this power; 1: as it is, 0: equal shares."""
    sources: Annotated[dict[SourceName, SourceSettings], AfterValidator(_by_name)] = Field(default_factory=dict)
    """The texts of a mix by name."""
    size_exponent: float = Field(1.0, ge=0, le=1)
    """The share of each source of a mix without weights: its number of tokens to this power; 1: as it is, 0: equal shares."""
    format: Literal["auto", "text", "jsonl", "csv", "parquet"] = "auto"
    """The format of the files of a stream; auto: by the ending of the first file's name."""
    cache_gb: float = Field(20.0, gt=0)
    """The most gigabytes (10^9 bytes) on the disk that the files of a stream take while they are prepared."""

    @model_validator(mode="after")
    def _languages(self) -> Self:
        if self.type != "parallel":
            if self.languages or self.monolingual:
                raise ValueError("languages and monolingual are for parallel text: write data=parallel")
            return self
        if len(set(self.languages)) < max(2, len(self.languages)):
            raise ValueError("languages must name two languages or more, each once: write data.languages=[en,de]")
        if unknown := sorted(self.monolingual.keys() - set(self.languages)):
            raise ValueError(
                f"monolingual has text in {', '.join(unknown)}, which languages does not name: add it to data.languages"
            )
        return self

    @model_validator(mode="after")
    def _translations_stay_together(self) -> Self:
        if self.type == "parallel" and self.deduplicate:
            raise ValueError("deduplicate is not for parallel text, where a sentence may have two translations: omit it")
        return self

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.type != "mix":
            if self.sources:
                raise ValueError("sources are for several texts: write data=mix")
            return self
        for name, info in TextSettings.model_fields.items():
            if name != "type" and getattr(self, name) != info.default:
                raise ValueError(f"{name} belongs to one of the sources: write data.sources.NAME.{name}=")
        if len(self.sources) < 2:
            named = "only " + next(iter(self.sources)) if self.sources else "nothing"
            raise ValueError(
                f"sources names {named}: name two texts, as in 'data.sources={{web: {{type: jsonl, files: web.jsonl}}, ...}}'"
            )
        without = [name for name, source in self.sources.items() if source.weight is None]
        if 0 < len(without) < len(self.sources):
            raise ValueError(f"sources has no weight for {', '.join(without)}: give each source a weight, or none of them")
        return self

    @model_validator(mode="after")
    def _stream(self) -> Self:
        if self.type == "stream":
            if self.deduplicate:
                what = "deduplicate compares all documents, and a stream never has all its files at once"
                raise ValueError(f"{what}: omit it, or leave repeated documents out of the files")
            return self
        for name in ("format", "cache_gb"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for files that are prepared while they are read: write data=stream, or omit it")
        return self

    @classmethod
    def keys_within(cls, values: object) -> Iterator[str]:
        """Yield the keys of each source of a mix."""
        yield from keys_of_members(values, "sources", SourceSettings)

    @property
    def texts(self) -> Mapping[str | None, DataSettings]:
        """The settings of each source of a mix, as those of a corpus of its own; of other data these alone, without a name."""
        if self.type != "mix":
            return {None: self}
        shared = self.model_dump(include={"validation_fraction", "isolate_documents", "prepared_dir", "processes"})
        return {
            name: DataSettings(name=name, **shared, **source.model_dump(exclude={"weight"}))
            for name, source in self.sources.items()
        }

    @property
    def weights(self) -> Mapping[str, float] | None:
        """The weights of the sources of a mix; None if their sizes decide."""
        given = {name: source.weight for name, source in self.sources.items() if source.weight is not None}
        return given or None
