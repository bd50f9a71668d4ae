"""Names, configuration and errors shared by every layer. Standard library only."""
