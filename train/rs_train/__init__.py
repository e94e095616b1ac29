"""Training of classifiers (transfer learning) and of filters (distillation).

Takes a data set and settings.  Gives the folder of a trained classifier or filter.
"""
