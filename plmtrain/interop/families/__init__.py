"""One module for each ``model_type`` of a config.json that can be read and written, with one ``FAMILY`` in it."""
