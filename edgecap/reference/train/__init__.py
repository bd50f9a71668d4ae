"""Training on drawn scenes: the curriculum, its losses, fine-tuning and distillation."""
