"""What rounding to 8 bits needs and does to a model, whatever its format.

Takes a Keras model and calibration photos.  Gives models that round better, ranges of activations,
and each layer's sensitivity.
"""
