"""llama.cpp, through llama-cpp-python: its functions, a model, a context, hidden states, the machine."""
