"""Batches for training: the order of photos, oversampling of rare classes, and augmentation.

Takes cached pixels, labels and weights.  Gives batches, the same for the same seed.
"""
