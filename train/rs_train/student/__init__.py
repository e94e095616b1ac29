"""Distillation of a filter: a small model learns to tell photos of organisms from other photos.

Takes photos, labels or a teacher, and settings.  Gives a filter folder.
"""
