"""ONNX: conversion, 8-bit quantization and metadata.

Takes a Keras model or an ONNX file's bytes.  Gives an ONNX file's bytes.
"""
