"""What a model costs and answers: logits in batches, latency, size.

Takes models and kits.  Gives numbers, and reports of them.
"""
