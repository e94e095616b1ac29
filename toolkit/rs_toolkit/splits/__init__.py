"""Splits of photos into training, validation and test, without separating groups.

Takes photos with groups and, if there is one, an earlier split to keep.  Gives each photo its side
of the split (``train``, ``val`` or ``test``), and a report of what could not be done as asked.
"""
