"""Quantisation: one plan, made by calibration, that every exporter obeys."""
