"""Speculative decoding: tokens are guessed, and evaluated together with the one before them.

Every token is chosen from the model's own logits, so a guess changes how long an answer takes, not what it says.
Leviathan et al. 2023, https://arxiv.org/abs/2211.17192.
"""
