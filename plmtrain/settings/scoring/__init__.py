"""Settings of what ``plmtrain evaluate`` scores without training: one module for each ``type``."""
