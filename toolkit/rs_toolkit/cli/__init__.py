"""The commands of ``rs-toolkit``: arguments, options and exit codes; they compute nothing.

Takes what a user types.  Gives it to the other packages, and prints results and errors.
"""
