"""The readers: one module for each ``type`` of task settings, with a Reader in it for each kind of its right answers."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from plmtrain.data.tables.reader import Reader
from plmtrain.settings.tasks.base import TaskSettings


def reader_of(task: TaskSettings) -> Reader[Any, Any]:
    """Return the reader of a task.

    Args:
        task: ``task.type`` names the module of this package that has it.
    """
    module = importlib.import_module(f"{__name__}.{task.type}")
    (reader,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Reader)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
        and value.is_for(task)
    )
    made: Reader[Any, Any] = reader(task)
    return made
