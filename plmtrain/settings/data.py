"""The data to train on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Name, Settings, Texts


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


class DataSettings(Settings):
    """A corpus: files, how they are read, and what is held out."""

    name: Name
    """The name that users know it by: that of its YAML."""
    type: Literal["sample", "text", "jsonl", "csv", "parquet", "hub", "parallel"]
    """``sample`` is the documentation inside the Python installation; ``text`` files contain paragraphs, with blank lines between
    documents if ``document_per`` says so; ``jsonl`` files contain one document a line, ``csv`` (or TSV) and ``parquet`` files one
    a row; ``hub`` is a dataset of Hugging Face's hub, with files of one of these kinds; ``parallel`` files contain sentences and
    their translations."""
    files: Texts = ()
    """Files, folders or globs; what gzip or zstd compressed is decompressed."""
    validation_files: Texts = ()
    """Held-out text; without it, a part of ``files`` is held out."""
    validation_fraction: float = Field(0.01, gt=0, lt=1)
    """The share of documents held out where there are no ``validation_files``; at least one block."""
    text_column: str = "text"
    """The key of the text in a JSON line, or the column of the text in a table."""
    columns: Texts = ()
    """The names of the columns of CSV files without a header."""
    separator: str | None = Field(None, min_length=1, max_length=1)
    """The character between the cells of CSV files; a comma if omitted, or a tab if a file's name ends with ``.tsv``."""
    document_per: Literal["file", "blank_line", "line"] = "file"
    """The unit of a document in ``text`` files: the whole file, the lines between blank lines, or a line."""
    isolate_documents: bool = False
    """Whether documents in the same row cannot see each other (in RoBERTa's full sentences they can: section 4.2)."""
    on_bad: Literal["stop", "skip"] = "stop"
    """Whether a line that cannot be read stops the run or is skipped and counted."""
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
    def _hub(self) -> DataSettings:
        if self.type == "hub":
            if self.hub is None:
                raise ValueError("hub is missing: name the dataset, data.hub=wikimedia/wikipedia, or the folder of a copy")
            if self.files or self.validation_files:
                raise ValueError(
                    "files are not for data=hub: name the dataset and its splits, data.split= and data.validation_split="
                )
            return self
        for name in ("hub", "subset", "revision", "validation_split"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for data=hub: omit it")
        return self

    @model_validator(mode="after")
    def _files(self) -> DataSettings:
        if self.type not in ("sample", "hub") and not self.files:
            raise ValueError("files is missing: name the text to train on, data.files=[mytext.txt]")
        return self

    @model_validator(mode="after")
    def _columns(self) -> DataSettings:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns names one column twice")
        for name in ("columns", "separator"):
            if getattr(self, name) and self.type != "csv":
                raise ValueError(f"{name} is for data=csv: omit it")
        return self

    @model_validator(mode="after")
    def _languages(self) -> DataSettings:
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
