"""Import from and export to Hugging Face folders, without the transformers library and without executing code from a folder."""
