"""The commands of ``rs-toolkit``: arguments, options and exit codes; they compute nothing.

Takes what a user types.  Calls the other packages, and prints results and errors.
"""
