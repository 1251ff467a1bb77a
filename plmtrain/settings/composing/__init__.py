"""From the command line and the YAML files to plain values, by Hydra. ``plmtrain.settings.decode`` turns them into checked
settings."""
