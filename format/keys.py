"""The keys of ours in a GGUF file, the names that llama.cpp's have, and what several rooms must agree on about both."""

from __future__ import annotations

ARCHITECTURE = "exaone4"
HEAD_ARCHITECTURE = "exaone4-head"
"""A classifier's head. It is not one of llama.cpp's, which therefore refuses the file by name."""

WINDOWED_DEPTH = 64
"""llama.cpp gives exaone4 a window at this depth, and at no other, whatever the file says (src/models/exaone4.cpp)."""

ALIGNMENT_KEY = "general.alignment"
SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")

CLASS_KEY = "exaone4_gguf.class"
"""In the base, the class of transformers that it is of; a file without this key can chat."""
HEADLESS = "Exaone4Model"
"""The class that has no head."""
WEIGHTS_ID_KEY = "exaone4_gguf.weights_id"
"""What ties a head to its base (converter/fingerprint.py)."""
LICENSE_TEXT_KEY = "exaone4_gguf.license_text"
"""EXAONE's licence must travel with derived files; GGUF's own keys hold only its name and link."""
END_TOKENS_KEY = "exaone4_gguf.end_token_ids"
"""All tokens that end a turn, where they are more than llama.cpp has keys for; this project's runtime heeds it."""

SEQUENCE, TOKEN, QUESTION = "sequence-classification", "token-classification", "question-answering"
"""What a head is for."""
SOFTMAX, SIGMOID, NONE = "softmax", "sigmoid", "none"
"""What makes scores of a head's logits."""

CACHE_TYPES = {"f32": 0, "f16": 1, "bf16": 30, "q8_0": 8, "q4_0": 2, "q4_1": 3, "iq4_nl": 20, "q5_0": 6, "q5_1": 7}
"""The types of a KV cache by llama.cpp's names (kv_cache_types, common/arg.cpp), and ggml's numbers of them."""
