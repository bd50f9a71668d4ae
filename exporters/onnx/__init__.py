"""ONNX: one graph per function, and one file of weights that all share."""
