"""plmtrain: pretrain and fine-tune the classic language models from one command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from plmtrain.interop.load import load as load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # `import plmtrain` must stay light: the command line's help may not wait for torch.
    if name == "load":
        from plmtrain.interop.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
