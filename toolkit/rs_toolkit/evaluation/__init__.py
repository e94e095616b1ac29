"""Validation of a model on any labelled photos.

Takes a run or a kit, and photos with labels.  Gives scores with intervals at every rank, a table of
predictions, and one HTML file with plots.
"""
