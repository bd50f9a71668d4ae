"""Captioners of many families: what each needs so that it can be exported and run."""
