"""Training of a classifier with Keras: a linear probe, then fine-tuning.

Takes a data set and settings.  Gives a run folder: model, metrics, splits, plots.
"""
