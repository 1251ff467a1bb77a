"""A small English text that every Python installation brings along: its own documentation.

The language reference that ``help()`` shows (``pydoc_data.topics``), and what the standard library's sources say in words: their
docstrings, found by parsing and never by importing, and their comments. Code, tables and markup are left out. The text is the
same wherever the same version of Python is installed, and serves to try things: it is all about one subject.
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
from plmtrain.stopping import safe_point
from plmtrain.text.prose import paragraphs
from plmtrain.text.readers import Document

# Tests say little in words, and many installations leave them out, like the others that are named here.
_LEFT_OUT = """
    site-packages dist-packages __pycache__ test tests idlelib lib2to3 tkinter turtledemo ensurepip encodings pydoc_data
"""
_COMMENT = re.compile(r"(?:^[ \t]*#(?: .*)?\n)+", re.MULTILINE)
_COMMENT_SIGN = re.compile(r"^[ \t]*# ?", re.MULTILINE)
_FEWEST_CHARACTERS = 400  # what is shorter is hardly a document
_FEWEST_DOCUMENTS = 20


def documents() -> Iterator[Document]:
    """English prose, a document for each topic and each module, always in the same order.

    Raises:
        DataError: if this Python was installed without its sources and its documentation.
    """
    yield from _documents()


@lru_cache(maxsize=1)
def _documents() -> tuple[Document, ...]:
    found = []
    seen: set[str] = set()
    for source, texts in (*_topics(), *_modules()):
        fresh = []
        for text in texts:
            for paragraph in paragraphs(text):
                if paragraph not in seen:  # classes repeat what their bases say, and modules each other's boilerplate
                    seen.add(paragraph)
                    fresh.append(paragraph)
        document = Document("\n".join(fresh), source, 1)
        if len(document.text) >= _FEWEST_CHARACTERS:
            found.append(document)
    if len(found) < _FEWEST_DOCUMENTS:
        raise DataError(
            "this Python was installed without the documentation that the sample text is made of",
            f"data=sample: neither pydoc_data nor enough sources with docstrings in {_library()}",
            "use text of your own (data=text data.files=[mytext.txt]) or a complete installation of Python",
        )
    return tuple(found)


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _topics() -> Iterator[tuple[str, list[str]]]:
    """The pages of the language reference."""
    try:
        from pydoc_data import topics
    except ImportError:  # some distributions pack it separately
        return
    for name, page in sorted(topics.topics.items()):
        yield f"pydoc_data/{name}", [page]


def _modules() -> Iterator[tuple[str, list[str]]]:
    """What each module of the standard library says in words, from top to bottom."""
    root = _library()
    for path in _sources(root):
        safe_point()
        try:
            code = path.read_text(encoding="utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(code)
        except (OSError, SyntaxError, ValueError):
            continue
        said = [(node.body[0].lineno, text) for node in _documented(tree) if (text := ast.get_docstring(node))]
        for match in _COMMENT.finditer(code):
            said.append((code.count("\n", 0, match.start()) + 1, _COMMENT_SIGN.sub("", match.group())))
        yield path.relative_to(root).as_posix(), [text for _, text in sorted(said)]


def _sources(root: Path) -> list[Path]:
    """The library's sources, in the order of their names."""
    left_out = set(_LEFT_OUT.split())
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in left_out]
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    return sorted(found)


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(node: Documented) -> Iterator[Documented]:
    """A module and the classes and functions in it, but for those inside other statements."""
    yield node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _documented(child)
