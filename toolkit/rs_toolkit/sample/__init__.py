"""A synthetic photo collection to try the toolkit on: long-tailed, and with planted faults.

Takes a number of photos and a seed.  Gives a folder of photos, their labels, and a list of the
planted faults.
"""

from __future__ import annotations

from rs_toolkit.sample.generate import generate_sample

__all__ = ["generate_sample"]
