"""A small English text that every Python installation includes: Python's own documentation.

It consists of the language reference that ``help()`` shows (``pydoc_data.topics``), and of the docstrings and comments in the
standard library's sources, which are parsed, never imported. Code, tables and markup are omitted. The text is the same wherever
the same version of Python is installed. It is for trying things out: all of it is about one subject.
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from plmtrain.errors import DataError
from plmtrain.files import read_text
from plmtrain.stopping import safe_point
from plmtrain.text.prose import paragraphs
from plmtrain.text.readers import Document

# Tests contain little prose, and many installations omit them, like the others that are named here.
_LEFT_OUT = """
    site-packages dist-packages __pycache__ test tests idlelib lib2to3 tkinter turtledemo ensurepip encodings pydoc_data
"""
_COMMENT = re.compile(r"(?:^[ \t]*#(?: .*)?\n)+", re.MULTILINE)
_COMMENT_SIGN = re.compile(r"^[ \t]*# ?", re.MULTILINE)
_FEWEST_CHARACTERS = 400  # a shorter text is hardly a document
_FEWEST_DOCUMENTS = 20


def documents() -> Iterator[Document]:
    """Yield English prose, a document for each topic and each module, always in the same order.

    Raises:
        DataError: if this Python was installed without its sources and its documentation.
    """
    yield from _documents()


@lru_cache(maxsize=1)
def _documents() -> tuple[Document, ...]:
    documents = []
    seen: set[str] = set()
    for source, texts in (*_topics(), *_modules()):
        fresh = []
        for text in texts:
            for paragraph in paragraphs(text):
                if paragraph not in seen:  # classes repeat the text of their bases, and modules boilerplate
                    seen.add(paragraph)
                    fresh.append(paragraph)
        document = Document("\n".join(fresh), source, 1)
        if len(document.text) >= _FEWEST_CHARACTERS:
            documents.append(document)
    if len(documents) < _FEWEST_DOCUMENTS:
        raise DataError(
            "this Python was installed without the documentation that the sample text is made of",
            f"data=sample: neither pydoc_data nor enough sources with docstrings in {_library()}",
            "use text of your own (data=text data.files=[mytext.txt]) or a complete installation of Python",
        )
    return tuple(documents)


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _topics() -> Iterator[tuple[str, list[str]]]:
    """Yield the pages of the language reference."""
    try:
        from pydoc_data import topics
    except ImportError:  # some distributions package it separately
        return
    for name, page in sorted(topics.topics.items()):
        yield f"pydoc_data/{name}", [page]


def _modules() -> Iterator[tuple[str, list[str]]]:
    """Yield the docstrings and comments of each module of the standard library, from top to bottom."""
    root = _library()
    for path in _sources(root):
        safe_point()
        try:
            code = read_text(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(code)
        except (OSError, SyntaxError, ValueError):
            continue
        texts = [(node.body[0].lineno, text) for node in _documented(tree) if (text := ast.get_docstring(node))]
        line, counted = 1, 0
        for match in _COMMENT.finditer(code):
            line, counted = line + code.count("\n", counted, match.start()), match.start()
            texts.append((line, _COMMENT_SIGN.sub("", match.group())))
        yield path.relative_to(root).as_posix(), [text for _, text in sorted(texts)]


def _sources(root: Path) -> list[Path]:
    """Return the library's sources, sorted by name."""
    left_out = set(_LEFT_OUT.split())
    paths = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in left_out]
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    return sorted(paths)


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(node: Documented) -> Iterator[Documented]:
    """Yield a module and its classes and functions, except those inside other statements."""
    yield node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _documented(child)
