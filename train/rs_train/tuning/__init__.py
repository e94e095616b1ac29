"""Search for settings of the training that score best on photos which are not the test's.

Takes a data set and settings.  Gives a study folder: the trials, and the best settings as a file.
"""
