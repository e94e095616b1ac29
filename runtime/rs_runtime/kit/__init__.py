"""The kit: one file of models, classes, preprocessing and calibration.

Takes the bytes of a kit, which are not trusted.  Gives a checked manifest and the members that it
names, or raises a KitError.  It also writes and signs kits.
"""
