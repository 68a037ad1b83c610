"""The pocket language model: a small Gemma 3 that sees, its lessons, its training and its checks."""
