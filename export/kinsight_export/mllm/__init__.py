"""Multimodal language models into GGUF pairs: converted, adapted, quantised, held against their source."""
