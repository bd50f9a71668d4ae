"""Applications of a captioner: retrieval, grounding, explanation. No torch."""
