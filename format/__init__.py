"""The ground floor, open to every room: a GGUF file's keys, values, types and tensors, and the tags of answers."""
