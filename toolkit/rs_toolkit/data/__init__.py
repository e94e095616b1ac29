"""Photos and their labels, in any of the supported layouts.

Takes a folder or a metadata file.  Gives an index of photos with content hash, taxonomy and group,
and caches of what was computed from the photos' content.
"""
