"""To and from Hugging Face folders, without the transformers library and without running anything that a folder brings."""
