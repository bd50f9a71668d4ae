"""What is built on a captioner: retrieval, grounding, explanation. No torch."""
