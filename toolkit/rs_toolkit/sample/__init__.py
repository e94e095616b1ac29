"""A procedurally drawn, long-tailed, faulty photo collection to try the toolkit on.

Takes a number of photos and a seed.  Gives a folder of photos, their labels, and a list of its
faults.
"""

from __future__ import annotations

from rs_toolkit.sample.generate import generate_sample

__all__ = ["generate_sample"]
