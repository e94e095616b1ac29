"""Photos as models see them: the only preprocessing, for training too.

Takes a file or its bytes.  Gives an array of pixels, or a PhotoError.
"""
