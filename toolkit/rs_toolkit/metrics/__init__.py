"""What predictions are worth: scores, calibration, thresholds, confidence intervals.

Takes arrays of labels, logits and probabilities.  Gives numbers; it opens no file.
"""
