"""From the command line and the YAML files to plain values, by Hydra. Checked settings are made of them one floor up, in
``plmtrain.settings.decode``."""
