"""Cleaning: findings and decisions lower the training weights of photos; no photo is deleted.

Takes a data set, its findings, a policy and a person's decisions.  Gives a clean folder that
training reads, and a report of what every class lost.
"""
