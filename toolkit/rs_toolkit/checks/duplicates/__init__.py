"""Photos of the same picture: hashes and features propose pairs, pixels decide.

Takes hashes, features and thumbnails.  Gives pairs, groups of duplicates, and findings.
"""
