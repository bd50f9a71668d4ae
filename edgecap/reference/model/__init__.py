"""The reference captioner in PyTorch: one transformer, its weights, its training forward."""
