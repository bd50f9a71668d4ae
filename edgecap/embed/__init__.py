"""The runtime for apps that are not written in Python: sources, not imported by the package."""
