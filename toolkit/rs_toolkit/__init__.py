"""Data, taxonomy, metrics, configuration and the command line of rs-toolkit.

Takes photos and labels in many layouts, and what a person types.  Gives checked, split, cached data
to training, and reports to read.
"""
