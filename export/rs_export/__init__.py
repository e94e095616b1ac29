"""Export: recipes, TFLite, ONNX, verification per class, kits."""
