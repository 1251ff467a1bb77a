"""Sizes of models that are no Transformers: a model's own YAML says what a size means for it."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from plmtrain.settings.composing.folders import section


def take_own_shape(config: DictConfig, config_dir: str | None) -> None:
    """Replace the shape of the chosen size, which is that of a Transformer, by the model's own where it has one.

    Args:
        config: the merged YAML files; ``model.suggests`` has the name of the ``size``, and the model's ``shapes`` by size.
        config_dir: the folder of ``--config-dir``.
    """
    size, shapes = (OmegaConf.select(config, f"model.suggests.{key}") for key in ("size", "shapes"))
    if not isinstance(shapes, DictConfig) or size not in shapes:
        return
    OmegaConf.set_struct(config, False)
    for key in section("size", size, config_dir)["model"]:
        if key != "suggests":
            config.model.pop(key, None)
    config.model = OmegaConf.merge(config.model, shapes[size])
