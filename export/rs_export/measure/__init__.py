"""Measurements of models: logits in batches, and benchmarks of kits.

Takes models and kits.  Gives logits, measurements and reports.
"""
