"""Results of several runs together. A single run is in ``plmtrain.runs``."""
