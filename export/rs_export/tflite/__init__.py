"""TFLite: conversion, 8-bit quantization and metadata.

Takes a Keras model or a TFLite file's bytes.  Gives a TFLite file's bytes.
"""
