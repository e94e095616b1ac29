"""LiteRT and ONNX Runtime behind one interface; each is imported when it is first used.

Takes a model's bytes and batches of input.  Gives outputs in float32.
"""
