"""Text before it becomes numbers: readers of files, sentences, tokenizers."""
