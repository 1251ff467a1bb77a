"""Sizes of models that are not like most of them."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from plmtrain.settings.composing.folders import section
from plmtrain.settings.lookup import model_classes


def take_own_shape(config: DictConfig, config_dir: str | None) -> None:
    """Take back what the chosen size says about settings that the type of model does not have, and the whole shape, which is that
    of a Transformer, where the model's YAML has shapes of its own.

    Args:
        config: the merged YAML files; ``model.suggests`` has the name of the ``size``, and the model's ``shapes`` by size.
        config_dir: the folder of ``--config-dir``.
    """
    size, shapes, kind = (OmegaConf.select(config, f"model.{key}") for key in ("suggests.size", "suggests.shapes", "type"))
    sized = section("size", str(size), config_dir).get("model")
    if not isinstance(sized, dict):
        return
    shape = shapes.get(size) if isinstance(shapes, DictConfig) else None
    known = model_classes()[kind].model_fields if kind in model_classes() else sized
    OmegaConf.set_struct(config, False)
    for key in sized.keys() - {"suggests"}:
        if shape is not None or key not in known:
            config.model.pop(key, None)
    if shape is not None:
        config.model = OmegaConf.merge(config.model, shape)
