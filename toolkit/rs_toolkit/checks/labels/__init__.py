"""Doubtful labels: label noise by confident learning, and outliers by distance within a class.

Takes features and labels.  Gives out-of-fold probabilities and findings.
"""
