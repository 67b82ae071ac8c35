"""GGUF weights through llama.cpp (llama-cpp-python's low-level interface)."""
