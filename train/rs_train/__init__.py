"""Training: backbones, sampling, hybrid transfer learning, calibration.

Takes a data set and settings.  Gives the folder of a trained classifier or filter.
"""
