"""The pocket embedder: a CLIP-type pair of towers, trained to tell look-alikes apart."""
