"""A checkpoint -> GGUF: a Hugging Face folder, or a GGUF to quantize anew.

Both are sources of the same pipeline: read the tensors' headers, plan the file, stream the rows.
"""
