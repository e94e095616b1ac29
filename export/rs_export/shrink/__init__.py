"""Pruning, clustering and training with rounding, for smaller models.

Takes a trained Keras model and training photos.  Gives the changed model; its weights are cached.
"""
