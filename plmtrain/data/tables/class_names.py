"""Names of classes in place of their numbers, where a dataset or a parquet file says them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from plmtrain.errors import DataError


def named(value: object, names: Sequence[str], where: str) -> object:
    """Return the name of a class, or those of a list of classes, given the numbers in a dataset that names its classes; other
    values as they are.

    Raises:
        DataError: if it is the number of none.
    """
    if names and isinstance(value, list):
        return [named(each, names, where) for each in value]
    if not names or not isinstance(value, int):
        return value
    if not 0 <= value < len(names):
        remedy = "use another split: task.train_split=, task.validation_split="
        raise DataError(f"the label {value} is not one of {len(names)}: labels of this split are not public", where, remedy)
    return names[value]


def class_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of each column of classes, as the library ``datasets`` writes them into a parquet file."""
    with suppress(ValueError, KeyError, AttributeError, TypeError):
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        single = {column: feature.get("feature", feature) for column, feature in features.items() if isinstance(feature, dict)}
        return {column: tuple(map(str, feature["names"])) for column, feature in single.items() if "names" in feature}
    return {}
