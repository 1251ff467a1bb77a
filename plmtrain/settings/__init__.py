"""Settings: frozen pydantic classes with their rules, without torch. ``composing`` composes their values from YAML."""
