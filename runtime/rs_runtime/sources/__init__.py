"""Where photos come from.

Takes what people give: files, folders, patterns, lists, zip archives, a folder that fills up, and a
detector's boxes.  Gives one photo after the other, or a Failure that says why one cannot be used.
"""

from __future__ import annotations
