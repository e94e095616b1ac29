"""The commands of ``rs-toolkit``: what a user types, and nothing that computes.

Takes arguments and options.  Gives calls of the other rooms, tables on the terminal, exit codes.
"""
