"""What commands import and read on their way, once: children that are forked from this process find it."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.util import find_spec

import plmtrain
from plmtrain.settings.composing.compose import compose

LIBRARIES = (
    "accelerate",
    "datasets",
    "hydra.core.override_parser.overrides_visitor",
    "rich.console",
    "scipy.stats",
    "sklearn.metrics",
    "tokenizers",
    "torch._dynamo",  # counting FLOPs imports it
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
)
OWN = [module.name for module in pkgutil.walk_packages(plmtrain.__path__, "plmtrain.") if not module.name.endswith("__main__")]

PICTURES = ("matplotlib.backends.backend_agg", "matplotlib.font_manager") if find_spec("matplotlib") else ()

for name in (*LIBRARIES, *PICTURES, *OWN):
    importlib.import_module(name)
compose([])  # Hydra looks for its plugins
