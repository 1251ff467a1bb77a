"""Settings: frozen pydantic classes with their rules, without torch. How they are composed from YAML is in ``composing``."""
