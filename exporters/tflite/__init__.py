"""TFLite: one file, a signature per function."""
