"""Applications of a captioner (retrieval, grounding, explanation) and captioned data. No torch."""
