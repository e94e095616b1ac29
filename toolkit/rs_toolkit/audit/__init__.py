"""The audit of a data set: how many photos a class has, and what is odd about them.

Takes photos and findings.  Gives statistics, and one HTML file with figures.
"""
