"""Checks of photos and labels: quality, organisms, duplicates, label noise, outliers.

Takes indexed photos, their pixels and features.  Gives findings, each about one photo and with a
reason; a finding itself changes nothing.
"""
