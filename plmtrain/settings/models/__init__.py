"""One settings class per kind of model; ``type`` in a model's YAML names the module here and in ``plmtrain.backbones``."""
