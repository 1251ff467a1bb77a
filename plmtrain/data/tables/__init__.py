"""Labelled examples: reading tables, numbering labels, encoding texts. Corpora without labels are in ``plmtrain.data.corpus``."""
