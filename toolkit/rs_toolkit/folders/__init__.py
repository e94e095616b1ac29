"""What commands leave on disk: run folders, filter folders and kits.

Takes a path.  Gives the checked content, or an error that says what is wrong with it.
"""
