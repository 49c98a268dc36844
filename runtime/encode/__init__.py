"""Texts to vectors and labels, by the model's hidden states."""
