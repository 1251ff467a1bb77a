"""One module for each ``model_type`` of a config.json that we read and write, with one ``FAMILY`` in it."""
