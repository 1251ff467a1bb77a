"""One settings class per type of task; ``type`` in a task's YAML names the module here and in ``plmtrain.tasks``."""
