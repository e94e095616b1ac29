"""Data, checks, splits, metrics, configuration and the command line of rs-toolkit.

Takes photos and labels in many layouts, and the commands that a person types.  Gives training data
that are checked, split and cached, and reports to read.
"""
