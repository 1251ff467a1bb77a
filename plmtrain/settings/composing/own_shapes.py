"""Sizes of models that are not like most of them, by their own YAML."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from plmtrain.settings.composing.folders import section


def take_own_shape(config: DictConfig, config_dir: str | None) -> None:
    """Take back what the chosen size says about settings that the model does not have, and the whole shape, which is that of a
    Transformer, where the model has shapes of its own.

    Args:
        config: the merged YAML files; ``model.suggests`` has the name of the ``size``, and the model's ``shapes`` by size.
        config_dir: the folder of ``--config-dir``.
    """
    size, shapes, name = (OmegaConf.select(config, f"model.{key}") for key in ("suggests.size", "suggests.shapes", "name"))
    own = section("model", str(name), config_dir)
    if size is None or not own:
        return
    shape = shapes.get(size) if isinstance(shapes, DictConfig) else None
    OmegaConf.set_struct(config, False)
    for key in section("size", size, config_dir)["model"].keys() - {"suggests"}:
        if key not in own:
            config.model.pop(key, None)
        elif shape is not None:
            config.model[key] = own[key]
    if shape is not None:
        config.model = OmegaConf.merge(config.model, shape)
