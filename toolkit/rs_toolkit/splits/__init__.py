"""Training, validation and test photos: groups stay together, and old sides stay as they are.

Takes photos with groups.  Gives a side to each, a table of the sides, and what could not be had.
"""
