"""Measurements of our own captioner on scenes whose truth is known."""
