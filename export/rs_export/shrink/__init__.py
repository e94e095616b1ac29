"""Smaller models: pruning, clustering, training with rounding.

Takes a trained Keras model and training photos.  Gives its new weights, kept in a cache.
"""
