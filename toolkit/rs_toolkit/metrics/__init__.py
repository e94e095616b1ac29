"""Scores, calibration, thresholds and confidence intervals of predictions.

Takes arrays of labels, logits and probabilities.  Gives numbers.  No file is opened here.
"""
