"""Text of Hugging Face's hub: the files of a dataset, downloaded once into the cache of its libraries, or those of a local copy.

Only files of known formats are used; a dataset's code is never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from plmtrain.data.corpus.named_source import of_source
from plmtrain.data.shards.shard_files import ShardFiles
from plmtrain.errors import DataError, nearest
from plmtrain.files import require_regular
from plmtrain.settings.data import DataSettings, TextSettings

TextT = TypeVar("TextT", bound=TextSettings)

_TYPES = {"parquet": "parquet", "json": "jsonl", "csv": "csv", "text": "text"}
"""By the name of the library's builder, the type of ``DataSettings`` that reads its files."""


def located(data: DataSettings) -> DataSettings:
    """Return the settings of the files that a dataset consists of, or a source of a mix; of a stream those of its first file,
    which stands for all before training; of other data as they are.

    Args:
        data: the settings of a run's data.

    Raises:
        DataError: if there is no such dataset, subset or split, or its files are of another format.
    """
    if data.type == "stream":
        return ShardFiles.of(data).as_text([0])
    sources = {}
    for name, source in data.sources.items():
        with of_source(name):
            sources[name] = _located(source)
    return data.model_copy(update={"sources": sources}) if sources else _located(data)


def _located(text: TextT) -> TextT:
    if text.type != "hub":
        return text
    assert text.hub is not None
    name = ", ".join(part for part in (text.hub, text.subset) if part is not None)
    type, files = _files_of(text.hub, text.subset, text.revision, (text.split, text.validation_split))
    splits = {"files": text.split, "validation_files": text.validation_split}
    for setting, split in splits.items():
        if split is not None and split not in files:
            key = "data.split" if setting == "files" else "data.validation_split"
            raise DataError(f"the dataset {name} has no split '{split}'", key, nearest(split, files))
    own = dict.fromkeys(("hub", "subset", "revision", "validation_split"))
    paths = {setting: tuple(files[split]) if split else () for setting, split in splits.items()}
    return text.model_validate({**text.model_dump(), **own, **paths, "type": type})


@lru_cache(maxsize=16)
def _files_of(
    hub: str, subset: str | None, revision: str | None, wanted: tuple[str | None, ...]
) -> tuple[str, Mapping[str, Sequence[str]]]:
    """Return the type of a dataset's files, and the paths of those of each split; a run asks several times, the hub but once."""
    name = ", ".join(part for part in (hub, subset) if part is not None)
    folder = Path(hub).expanduser()
    if folder.is_dir():
        for path in folder.rglob("*"):
            if not path.is_dir():
                require_regular(path)  # the library would wait for a named pipe
    try:
        builder = _builder(str(folder) if folder.is_dir() else hub, subset, revision)
        there: Mapping[str, Sequence[str]] = builder.config.data_files or {}
        files = {split: _downloaded(builder, paths) if split in wanted else [] for split, paths in there.items()}
    except Exception as error:  # network, layout, subsets: the library raises many types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        remedy = "check data.hub and data.subset; without a connection: data.hub=FOLDER of a copy"
        raise DataError(f"the dataset {name} cannot be read", reason, remedy) from error
    if builder.name not in _TYPES:
        what = f"the files of the dataset {name} are of another format ({builder.name})"
        raise DataError(what, f"data.hub={hub}", f"a dataset of text has one of these: {', '.join(_TYPES)}")
    return _TYPES[builder.name], files


def _builder(place: str, subset: str | None, revision: str | None) -> Any:
    from datasets import load_dataset_builder

    return load_dataset_builder(place, subset, revision=revision)


def _downloaded(builder: Any, paths: Sequence[str]) -> list[str]:
    from datasets import DownloadConfig, DownloadManager

    manager = DownloadManager(dataset_name=builder.dataset_name, download_config=DownloadConfig(cache_dir=builder.cache_dir))
    return [str(path) for path in manager.download(list(paths))]
