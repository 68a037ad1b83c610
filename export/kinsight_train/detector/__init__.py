"""The pocket bundle's detector: a small network without anchors, trained on drawn scenes."""
