"""Captioners that edgecap opens and exports: one file a family, found by a registry."""
