"""Code that is shared by objectives that corrupt a text and reconstruct it."""
