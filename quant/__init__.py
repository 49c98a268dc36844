"""Rows of floats -> ggml blocks: the types, the recipes of the file types, and ggml's kernels.

Knows nothing of checkpoints or files; the converter asks it which type a tensor gets and hands it rows.
"""
