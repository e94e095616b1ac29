"""A procedurally drawn, long-tailed, faulty photo collection to try the toolkit on."""

from __future__ import annotations

from rs_toolkit.sample.generate import generate_sample

__all__ = ["generate_sample"]
