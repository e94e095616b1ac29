"""The review page, on which a person decides about flagged photos.

Takes a clean folder and what a person clicks.  Gives a journal with one decision per line, and
photos to which these decisions are applied.
"""
