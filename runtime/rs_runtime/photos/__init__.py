"""Decoding and preprocessing of photos, for training too: no other code does it.

Takes a file or its bytes.  Gives an array of pixels, or a PhotoError.
"""
