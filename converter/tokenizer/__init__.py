"""A checkpoint's tokenizer and chat template, as llama.cpp will read them."""
