"""CoreML: ML programs."""
