"""One settings class per objective; ``type`` in an objective's YAML names the module here and in ``plmtrain.objectives``."""
