"""Checks of photos and labels: quality, organisms, duplicates, label noise, outliers.

Takes indexed photos, their thumbnails and features.  Gives findings, each of one photo and with its
reason; they change nothing.
"""
