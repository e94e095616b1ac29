"""Labels that photos contradict: confident learning, and distance from a class's own photos.

Takes features and labels.  Gives out-of-fold probabilities and findings.
"""
