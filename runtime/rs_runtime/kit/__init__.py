"""The kit: one file of models, classes, preprocessing and calibration.

Takes a kit's bytes, which are not trusted, or what is to be written.  Gives a checked manifest and
the members it names, or a KitError.
"""
