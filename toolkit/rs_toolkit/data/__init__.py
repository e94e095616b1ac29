"""Photos and their labels, whatever layout they come in.

Takes a folder or a file of metadata.  Gives an index of photos with content hash, taxonomy and
group, and caches of what was computed from their content.
"""
