"""Tokens: what is asked of a generation, sampled, steered and drafted."""
