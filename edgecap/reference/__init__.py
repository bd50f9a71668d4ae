"""The reference captioner: its scenes, its model, its training and its data."""
