"""Preparation and analysis of quantization to 8 bits, for any model format.

Takes a Keras model and calibration photos.  Gives models that lose less by rounding, ranges of
activations, and each layer's sensitivity.
"""
