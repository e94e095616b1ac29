"""The review page: a person judges flagged photos; every decision is kept, and applied later.

Takes a clean folder and what a person clicks.  Gives decisions, one a line, and their consequences.
"""
