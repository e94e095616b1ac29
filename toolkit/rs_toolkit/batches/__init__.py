"""Batches for training: in which order photos are shown, and how often those of rare classes.

Takes cached pixels, labels and weights.  Gives batches, the same for the same seed.
"""
