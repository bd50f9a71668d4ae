"""The parity gate: a bundle against its PyTorch model, without torch."""
