"""Distillation of a filter: a small model learns to tell photos of organisms from others.

Takes photos, a teacher or labels, and settings.  Gives a filter folder.
"""
