"""What ``rs-classify`` writes: one file a format, and ``writers`` that opens what was asked for.

Takes results, one after the other.  Gives files and folders that other programs read, each whole
or not at all.  docs/outputs.md says what is put where.
"""
