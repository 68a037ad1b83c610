"""Trains the parts of the pocket bundle on drawn scenes."""
