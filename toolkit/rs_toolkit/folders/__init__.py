"""What stages leave on disk: the folders of runs, filters and exports.

Takes a path.  Gives what is in the folder, checked, or an error that says what is wrong with it.
"""
