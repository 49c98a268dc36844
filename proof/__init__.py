"""A GGUF against its checkpoint: the streamed reference, verify, the importance matrix."""
