"""A synthetic photo collection to try the toolkit on: long-tailed, and with planted faults.

Takes a number of photos and a seed.  Gives photos, their labels, and a list of the faults.
"""

from __future__ import annotations

from rs_toolkit.sample.generate import generate_sample

__all__ = ["generate_sample"]
