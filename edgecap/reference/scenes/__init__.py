"""Drawn scenes with known truth: what they hold, how they look, what is true to say of them."""
