"""The kit: one file of models, classes, preprocessing and calibration.

Reads a kit, whose bytes are not trusted, into a checked manifest and the members that it names, or
raises a KitError.  Writes and signs kits.
"""
