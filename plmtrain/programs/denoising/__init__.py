"""The bases of all objectives that corrupt a text and write it anew."""
