"""A checkpoint's folder: which files it has, and the tensors in them."""
