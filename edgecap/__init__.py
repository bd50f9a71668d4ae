"""edgecap: put an image captioner on phones, browsers and boards."""

__version__ = "0.1.0"

__all__ = ["__version__"]
