"""The checkpoint, read without the converter: what it says by transformers and by its own files."""
